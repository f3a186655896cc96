"""The command `main.py report`: report.html and its parts."""
