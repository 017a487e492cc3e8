//! The recipes of docs/operations.md, in a Debian under systemd: what each command there prints is what the page says.

#![expect(clippy::expect_used, reason = "it is test code, and a panic is how a test fails")]

use std::fs;
use std::time::Duration;

use stories::packages::{RELAY, SOON, VERSIONS, install, set_password};
use stories::{PASSWORD, of_repository, test_card};
use testbed::container::Container;
use testbed::eventually::eventually;
use testbed::http::{get, request};

/// What a command that goes on for ever has said by then.
const FOR_EVER: Duration = Duration::from_secs(5);

/// `…` in the page.
const ANYTHING: char = '…';

/// A command, and lines that it prints in this order, perhaps with others between.
#[derive(Debug, PartialEq, Eq)]
struct Recipe {
    command: String,
    lines: Vec<String>,
}

/// Those of all `console` blocks of a page.
fn recipes(page: &str) -> Vec<Recipe> {
    let mut recipes: Vec<Recipe> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (inside, line.strip_prefix("# ")) {
            _ if line.starts_with("```") => inside = line == "```console",
            (true, Some(command)) => {
                recipes.push(Recipe { command: command.to_owned(), lines: Vec::new() });
            }
            (true, None) if !line.is_empty() => {
                let recipe = recipes.last_mut().expect("a block begins with a command");
                recipe.lines.push(line.to_owned());
            }
            _ => {}
        }
    }
    recipes
}

/// Blanks count as one, as columns are as wide as what is in them.
fn is_like(line: &str, page: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (line, page) = (plain(line), plain(page));
    let parts: Vec<&str> = page.split(ANYTHING).collect();
    let [first, middle @ .., last] = parts.as_slice() else { return line == page };
    let Some(rest) = line.strip_prefix(first) else { return false };
    let Some(mut rest) = rest.strip_suffix(last) else { return false };
    for part in middle {
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    true
}

impl Recipe {
    /// The first line of the page that is not where it should be.
    fn missing(&self, output: &str) -> Option<&str> {
        let mut said = output.lines();
        self.lines.iter().find(|page| !said.any(|line| is_like(line, page))).map(String::as_str)
    }
}

#[test]
fn a_page_is_read_as_people_read_it() {
    let page = "text\n```console\n# a b\none … three\n\n# c\n```\n# no\n```sh\n# d\n```\n";
    let read = recipes(page);
    assert_eq!(
        read[0],
        Recipe { command: "a b".to_owned(), lines: vec!["one … three".to_owned()] }
    );
    assert_eq!(read[1], Recipe { command: "c".to_owned(), lines: Vec::new() });
    assert_eq!(read.len(), 2);
    assert_eq!(read[0].missing("zero\none   two  three\nfour"), None);
    assert_eq!(read[0].missing("one two\nthree"), Some("one … three"));
    assert!(is_like("a1b2c", "a…b…c") && is_like("abc", "…b…") && is_like("b", "b"));
    assert!(!is_like("abc", "b") && !is_like("acb", "a…b…c"));
}

const SETTINGS: &str = "[freshness]\nstale_after = \"2s\"\noffline_after = \"6s\"\n\n[notify]\n\
    command = \"/usr/local/bin/tell-me\"\n";

struct Scene {
    container: Container,
    picture: Vec<u8>,
}

impl Scene {
    /// Everything that the page speaks of has happened.
    fn set() -> Scene {
        let scene = Scene { container: Container::boot(), picture: test_card("320x240") };
        let container = &scene.container;
        install(container, "relay", VERSIONS[0]);
        set_password(container);
        container.put("/etc/stillwatch/relay.toml", 0o644, SETTINGS);
        container.put("/usr/local/bin/tell-me", 0o755, "#!/bin/sh\nexec cat >/dev/null\n");
        container.run("systemctl enable --now stillwatch-relay");
        scene.uploads("garden", PASSWORD, &scene.picture, 200);
        scene.says("STILLWATCH_EVENT=camera-first");
        scene.uploads("garden", PASSWORD, b"hello", 415);
        scene.says("CAMERA=garden STATE=offline");
        scene.uploads("garden", PASSWORD, &scene.picture, 200);
        scene.says("CAMERA=garden STILLWATCH_EVENT=camera-again");
        scene.uploads("stranger", "a-guess", &scene.picture, 400);
        // Long enough for the picture to be kept.
        scene.says_times("CAMERA=garden STATE=offline", 2);
        container.run("systemctl kill --signal=KILL stillwatch-relay");
        scene.says_times("STILLWATCH_EVENT=relay-started", 2);
        container.run("systemctl restart stillwatch-relay");
        scene.garden_is("offline");
        scene
    }

    fn uploads(&self, camera: &str, password: &str, body: &[u8], status: u16) {
        let path = format!("/cameras/{camera}?password={password}");
        eventually("an answer to an upload", SOON, || {
            let send = || request(RELAY, "POST", &path, &[], body);
            let answer = self.container.inside(send).map_err(|error| error.to_string())?;
            if answer.status() == status { Ok(()) } else { Err(answer.first) }
        });
    }

    fn says(&self, matches: &str) {
        self.says_times(matches, 1);
    }

    fn says_times(&self, matches: &str, times: usize) {
        eventually(&format!("{times} of {matches}"), SOON, || {
            let found = self.container.journal(&format!("-u stillwatch-relay -o cat -q {matches}"));
            if found.lines().count() >= times { Ok(()) } else { Err(found) }
        });
    }

    fn garden_is(&self, state: &str) {
        eventually(&format!("garden {state}"), SOON, || {
            let asked = self.container.inside(|| get(RELAY, "/cameras/garden/healthz"));
            let body = asked.map_err(|error| error.to_string())?.body;
            let body = String::from_utf8_lossy(&body).into_owned();
            if body.contains(&format!("\"{state}\"")) { Ok(()) } else { Err(body) }
        });
    }
}

#[test]
fn each_recipe_prints_what_the_page_says() {
    let page = fs::read_to_string(of_repository("docs/operations.md")).expect("the page");
    let recipes = recipes(&page);
    assert!(recipes.len() > 20, "{}", recipes.len());
    let scene = Scene::set();
    let mut wrong = Vec::new();
    for recipe in &recipes {
        scene.garden_is("offline");
        scene.container.run("journalctl --sync");
        let within = if recipe.command.contains(" -f ") { FOR_EVER } else { SOON };
        let ran = scene.container.try_run(within, &recipe.command).expect("the container runs");
        let output = &ran.text;
        println!("# {}\n{output}", recipe.command);
        if let Some(missing) = recipe.missing(output) {
            wrong.push(format!("# {}\nno {missing:?} in its place in\n{output}", recipe.command));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
