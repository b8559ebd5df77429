//! Sending: multicast sockets for a publisher.
