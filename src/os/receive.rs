//! Receiving: multicast sockets and batch receive.
