//! Capture files, made by hand and real ones, through the public API.

#[path = "capture_files/build.rs"]
mod build;
#[path = "capture_files/fragments.rs"]
mod fragments;
#[path = "capture_files/links.rs"]
mod links;
#[path = "capture_files/merge.rs"]
mod merge;
#[path = "capture_files/random.rs"]
mod random;
#[path = "capture_files/read.rs"]
mod read;
#[path = "capture_files/real.rs"]
mod real;
#[path = "capture_files/write.rs"]
mod write;
