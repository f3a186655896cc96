"""The parts of report.html, see utils.report."""
