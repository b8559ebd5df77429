//! Real captures, under `TWINLINE_CAPTURES`.
