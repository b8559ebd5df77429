//! Framings that a feed file describes, against our own of the same venue: the same frames, the same bytes written, and of
//! whole streams the same messages, events and report.

mod frames;
mod streams;
