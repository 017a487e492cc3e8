//! The one file on the SD card, by the real programs: what it says comes into force, and what is wrong with
//! it is told on the card. The mounts and the boot around it are the image's stories.

use std::fs;
use std::path::Path;

use stories::{Relay, seq_of};
use tempfile::TempDir;
use testbed::program::{Program, command};

struct Card(TempDir);

#[expect(clippy::unwrap_used, reason = "it is test code")]
impl Card {
    fn with(text: &str) -> Card {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("card")).unwrap();
        fs::create_dir_all(folder.path().join("root/usr/share/zoneinfo")).unwrap();
        fs::write(folder.path().join("root/usr/share/zoneinfo/UTC"), "").unwrap();
        fs::write(folder.path().join("card/stillwatch.toml"), text).unwrap();
        Card(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// One boot's work; the exit status.
    fn boot(&self) -> Option<i32> {
        let mut provision = command("stillwatch-provision");
        for (flag, name) in
            [("--card", "card"), ("--state", "state"), ("--run", "run"), ("--root", "root")]
        {
            provision.args([flag, &self.path(name)]);
        }
        let agent = command("stillwatch-agent");
        provision.args([Path::new("--agent"), Path::new(agent.get_program())]);
        provision.status().unwrap().code()
    }

    /// The agent, as this boot configured it.
    fn agent(&self) -> Program {
        let mut agent = command("stillwatch-agent");
        agent.args(["run", "--config", &self.path("run/stillwatch/etc/agent.toml")]);
        agent.args(["--password-file", &self.path("run/stillwatch/etc/relay.password")]);
        Program::start("the agent", &mut agent)
    }

    fn status(&self) -> String {
        fs::read_to_string(self.path("card/stillwatch-status.txt")).unwrap()
    }
}

#[test]
fn what_the_card_says_the_agent_does() {
    let relay = Relay::start();
    let card = Card::with(&format!(
        "name = \"default\"\r\n[relay]\r\nurl = “{}”\r\npassword = \"{}\"\r\n\
         [camera]\r\nsource = \"pattern\"\r\nsize = \"320x240\"\r\n",
        relay.url(),
        stories::PASSWORD,
    ));
    for boot in ["the first", "another"] {
        assert_eq!(card.boot(), Some(0), "{}", card.status());
        assert!(card.status().contains("is all right"), "{boot}: {}", card.status());
        let on_card = fs::read_to_string(card.path("card/stillwatch.toml")).unwrap();
        assert!(!on_card.contains(stories::PASSWORD), "{on_card}");
        let before = if relay.is_empty() { 0 } else { seq_of(&relay.frame("/live.jpeg")) };
        let _agent = card.agent();
        relay.frame_after(before);
    }
}

#[test]
fn of_several_relays_on_the_card_the_next_one_gets_the_pictures() {
    let (mut first, second) = (Relay::start(), Relay::start());
    let both = format!("{} {}", first.url(), second.url());
    let card = Card::with(&format!(
        "[relay]\nurl = \"{both}\"\npassword = \"{}\"\n\
         [camera]\nsource = \"pattern\"\nsize = \"320x240\"\n",
        stories::PASSWORD,
    ));
    assert_eq!(card.boot(), Some(0), "{}", card.status());
    assert!(card.status().contains(&format!("relay:    {both}\r\n")), "{}", card.status());
    let _agent = card.agent();
    first.frame("/live.jpeg");
    assert!(second.is_empty());
    first.program.signal("KILL");
    first.program.ended();
    second.frame("/live.jpeg");

    // The password goes to these only.
    let on_card = fs::read_to_string(card.path("card/stillwatch.toml")).unwrap();
    let further = on_card.replace(&both, &format!("{both} http://10.0.0.1/"));
    fs::write(card.path("card/stillwatch.toml"), further).unwrap();
    assert_eq!(card.boot(), Some(0), "with what was right last");
    let said = card.status();
    assert!(said.contains("line 3: relay.password: is empty, and none is kept"), "{said}");
    let agent = fs::read_to_string(card.path("run/stillwatch/etc/agent.toml")).unwrap();
    assert!(!agent.contains("10.0.0.1"), "{agent}");
}

#[test]
fn what_the_agent_refuses_is_told_with_the_cards_lines() {
    let card = Card::with(
        "[relay]\nurl = \"http://cam.example.org/\"\npassword = \"x\"\n[camera]\nfps = 500\n",
    );
    assert_eq!(card.boot(), Some(78));
    assert!(card.status().contains("    line 5: camera.fps: 500"), "{}", card.status());
    let text = "[relay]\nurl = \"http://cam.example.org/\"\npassword = \"x\"\n[camera]\nfsp = 5\n";
    fs::write(card.path("card/stillwatch.toml"), text).unwrap();
    assert_eq!(card.boot(), Some(78));
    let said = card.status();
    assert!(said.contains("line 5:") && said.contains("did you mean \"camera.fps\""), "{said}");
    fs::write(card.path("card/stillwatch.toml"), text.replace("fsp", "fps")).unwrap();
    assert_eq!(card.boot(), Some(78));
    let said = card.status();
    assert!(said.contains("line 2: relay.url: everybody on the way to cam.example.org"), "{said}");
    let second = text.replace("http://", "https://b.example.org/ http://").replace("fsp", "fps");
    fs::write(card.path("card/stillwatch.toml"), second).unwrap();
    assert_eq!(card.boot(), Some(78));
    let said = card.status();
    assert!(said.contains("line 2: relay.url: everybody on the way to cam.example.org"), "{said}");
}
