//! The privacy boundary: RawFrame, RedactedFrame, AnonymisedFrame, policy, audit, seal.
