"""What the operating system is asked for: files that appear whole, locks, signals, devices, cores, time."""
