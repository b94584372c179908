"""Generated classes (`make proto`)."""
