"""What every other package uses: errors, files, locks, placeholders, the project directory."""
