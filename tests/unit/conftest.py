"""What the unit tests share: property tests without a clock."""

from hypothesis import HealthCheck, settings

# A busy machine stalls for longer than any example takes; the whole test has a time-out of its own.
settings.register_profile("archive", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("archive")
