//! What a client reads.
