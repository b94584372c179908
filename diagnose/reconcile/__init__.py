"""What Alertmanager says now against what we were told: lost notifications, ends that nobody tells, silences."""
