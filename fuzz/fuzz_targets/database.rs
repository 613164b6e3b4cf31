#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::database::damaged_file(data));
