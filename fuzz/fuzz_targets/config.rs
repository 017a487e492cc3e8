//! Any text as a configuration: it is good, or the error says which key or which file it is about.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;

/// A program's `check-config`, and its settings.
type Program = (fn(&std::path::Path) -> Result<(), String>, Vec<&'static str>);

thread_local! {
    static PROGRAMS: [Program; 2] = [
        (stillwatch_relay::fuzzing::config, stillwatch_relay::fuzzing::keys().collect()),
        (stillwatch_agent::fuzzing::config, stillwatch_agent::fuzzing::keys().collect()),
    ];
}

fuzz_target!(|data: &[u8]| {
    let Some((&which, text)) = data.split_first() else { return };
    let file = fuzz::folder("config.toml");
    fs::write(&file, text).expect("a file");
    PROGRAMS.with(|programs| {
        let (check, keys) = &programs[usize::from(which % 2)];
        let Err(error) = check(&file) else { return };
        let named = error.contains(&*file.to_string_lossy())
            || keys.iter().any(|key| error.contains(key.split('*').next_back().unwrap_or(key)))
            || error.contains("PASSWORD");
        assert!(named, "{error}");
    });
});
