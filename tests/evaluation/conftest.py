"""Settings of the properties."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("no deadline")
