//! mTLS identities, QUIC framing, the transfer state machine and its drivers, the MQTT bus.
