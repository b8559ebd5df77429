//! What is in files: captures and feed files made here, the shipped samples, and what the program makes of them.

mod address_space;
mod bad_input;
mod capture_files;
mod capture_memory;
mod divergence;
mod feeds;
mod fixed;
mod fuzz_seeds;
mod golden;
mod inspect;
mod report;
#[path = "../support/mod.rs"]
mod support;
