//! The publisher.
