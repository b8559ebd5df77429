//! Scenarios, and exactly what is found.
