//! The SPSC ring.
