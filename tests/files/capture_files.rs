//! Capture files, made by hand, through the public API.

mod build;
mod fragments;
mod links;
mod merge;
mod random;
mod read;
mod write;
