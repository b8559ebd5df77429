//! Records in a ring.
