#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stonescriptdb_fuzzed::form(data));
