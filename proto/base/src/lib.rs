//! What every service needs and nothing about video: clock, shutdown, retry, config, telemetry.
