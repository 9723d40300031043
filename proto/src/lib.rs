//! Plain data that two processes must agree on: ids, envelope, messages, topics.
