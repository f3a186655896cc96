"""What metrics are worth: intervals by subject, groups of people, tests between detectors, calibration."""
