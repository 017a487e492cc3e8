//! Our packages and units in a plain Debian under the real systemd: installed, configured, upgraded, removed, purged,
//! as an administrator would. Each story has a container of its own.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use stories::load::under_load;
use stories::packages::{
    RELAY, SOON, VERSIONS, as_owner, install, make, nothing_fails, package, picture, property,
    set_password, upload,
};
use stories::{PASSWORD, of_repository, test_card};
use testbed::container::Container;
use testbed::eventually::eventually;
use testbed::http::{get, request};
use testbed::program::{Program, binary};

const OLD: &str = VERSIONS[0];
const NEW: &str = VERSIONS[1];

/// A picture that the relay takes; the same one each time.
fn card() -> Vec<u8> {
    test_card("320x240")
}

/// What of all files and users in the container is ours.
fn ours(container: &Container) -> String {
    container.run(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /root -o -path /var/log -o -path /var/lib/dpkg \
         -o -path /var/cache \\) -prune -o -iname '*stillwatch*' -print; \
         find /run /etc/stillwatch /var/lib -iname '*stillwatch*' 2>/dev/null | grep -v '^/var/lib/dpkg' || true; \
         dpkg --list 'stillwatch*' 2>/dev/null | grep '^[^ud|+]' | grep -v '^Desired' || true",
    )
}

#[test]
fn installed_on_a_bare_debian_it_waits_to_be_configured() {
    let container = Container::boot();
    for name in ["relay", "agent"] {
        let said = install(&container, name, OLD);
        assert!(said.contains("not started"), "{said}");
    }
    nothing_fails(&container);
    for unit in ["stillwatch-relay", "stillwatch-agent"] {
        assert_eq!(property(&container, unit, "ActiveState"), "inactive", "{unit}");
        assert_eq!(
            container.run(&format!("systemctl is-enabled {unit} || true")).trim(),
            "disabled"
        );
        container.run(&format!("getent passwd {unit}"));
    }
    assert_eq!(property(&container, "stillwatch-healer.socket", "ActiveState"), "active");
    let answer = container.run("stillwatch-healer ask clock-retry || true");
    assert!(answer.contains("no time service runs"), "{answer}");
    container.run("test -d /etc/stillwatch && dpkg --verify stillwatch-relay stillwatch-agent");

    for page in
        ["stillwatch-relay", "stillwatch-agent-run", "5 stillwatch-relay.toml", "stillwatch-healer"]
    {
        container.run(&format!("man -w {page}"));
    }
    let page = container.run("man 5 stillwatch-agent.toml | cat");
    assert!(page.contains("STILLWATCH_UPLOAD_RELAY"), "{page}");
    let bash = "source /usr/share/bash-completion/bash_completion; _completion_loader stillwatch-relay; \
        complete -p stillwatch-relay";
    assert!(container.run(bash).contains("stillwatch-relay"));
    let fish = "fish --command 'complete --do-complete \"stillwatch-relay check\"'";
    assert!(container.run(fish).contains("check-config"));
    let zsh = "zsh -c 'autoload -Uz compinit && compinit -u && echo $_comps[stillwatch-relay]'";
    assert!(container.run(zsh).contains("_stillwatch-relay"));

    let catalog = ["stillwatch.catalog", "stillwatch-relay.catalog"]
        .map(|name| fs::read_to_string(of_repository("systemd").join(name)).unwrap())
        .join("\n");
    let known = container.run("journalctl --list-catalog");
    for id in catalog.lines().filter_map(|line| line.strip_prefix("-- ")) {
        let id = id.split_whitespace().next().unwrap();
        assert!(known.contains(id), "{id}");
    }

    container.reboot();
    nothing_fails(&container);

    container.run("stillwatch-relay init");
    for unit in ["stillwatch-relay.socket", "stillwatch-relay.service"] {
        assert_eq!(property(&container, unit, "ActiveState"), "active", "{unit}");
    }
    nothing_fails(&container);
    // What it wrote goes with the package.
    container.run("dpkg --purge stillwatch-relay stillwatch-agent && test ! -e /etc/stillwatch");
}

#[test]
fn packages_hold_what_the_payload_says() {
    let root = tempfile::tempdir().unwrap();
    let programs = binary("stillwatch-relay").parent().unwrap().to_owned();
    for (name, parts) in [
        ("relay", &["relay", "relay-settings"][..]),
        ("agent", &["agent", "healer", "agent-settings"]),
    ] {
        let (payload, unpacked) = (root.path().join("payload").join(name), root.path().join(name));
        let mut install = Command::new(of_repository("systemd/install"));
        assert!(install.arg(&payload).arg(&programs).args(parts).status().unwrap().success());
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("--extract").arg(package(name, OLD)).arg(&unpacked);
        assert!(unpack.status().unwrap().success());
        // Programs are stripped, all the rest has to be the same, modes included.
        assert_eq!(listed(&unpacked).unwrap(), listed(&payload).unwrap(), "{name}");
    }
}

/// Modes, paths and hashes of all files but documents, which only packages have.
fn listed(root: &Path) -> io::Result<BTreeSet<String>> {
    let script = "find . -path ./usr/share -prune -o -type l -printf '%y %p %l\\n' -o -type f -printf '%m %p ' \
        \\( -path './usr/bin/*' -printf '\\n' -o -exec sha256sum -b {} \\; \\)";
    let output = Command::new("sh").args(["-c", script]).current_dir(root).output()?;
    assert!(output.status.success(), "{output:?}");
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

#[test]
fn the_same_inputs_make_the_same_packages() {
    let again = tempfile::tempdir().unwrap();
    let programs = binary("stillwatch-relay").parent().unwrap().to_owned();
    let first = ["relay", "agent"].map(|name| fs::read(package(name, OLD)).unwrap());
    make(&programs, again.path(), OLD);
    let second = ["relay", "agent"]
        .map(|name| fs::read(again.path().join(package(name, OLD).file_name().unwrap())).unwrap());
    assert!(first == second, "packages differ from one build to the next");
}

#[test]
fn lintian_finds_nothing() {
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"]);
    let output = lintian.args(["relay", "agent"].map(|name| package(name, OLD))).output();
    let output = output.expect("lintian (scripts/setup packages)");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
}

#[test]
fn a_relay_with_a_password_runs_is_upgraded_and_purged() {
    let container = Container::boot();
    let before = ours(&container);
    set_password(&container);
    install(&container, "relay", OLD);
    for unit in ["stillwatch-relay.service", "stillwatch-relay.socket"] {
        assert_eq!(property(&container, unit, "ActiveState"), "active", "{unit}");
        assert_eq!(container.run(&format!("systemctl is-enabled {unit}")).trim(), "enabled");
    }
    nothing_fails(&container);
    let card = card();
    container.put("/root/card.jpeg", 0o644, &card);
    container.run(&format!(
        "curl --silent --show-error --fail --header 'Content-Type: image/jpeg' --data-binary @/root/card.jpeg \
         'http://127.0.0.1:5000/?password={PASSWORD}'"
    ));
    assert_eq!(picture(&container).body, card);

    container.run("systemctl restart stillwatch-relay");
    assert_eq!(picture(&container).body, card);

    // A conffile that was edited is kept, without a question, as long as ours does not change.
    container.run("echo 'site.title = \"Garden\"' >>/etc/stillwatch/relay.toml");
    let before_upgrade = property(&container, "stillwatch-relay", "MainPID");
    install(&container, "relay", NEW);
    assert_ne!(property(&container, "stillwatch-relay", "MainPID"), before_upgrade);
    assert_eq!(picture(&container).body, card);
    assert!(container.run("cat /etc/stillwatch/relay.toml").contains("Garden"));
    let page = eventually("the page", SOON, || container.inside(|| get(RELAY, "/")));
    assert!(String::from_utf8_lossy(&page.body).contains("Garden"));

    // What was stopped stays stopped.
    container.run("systemctl stop stillwatch-relay");
    install(&container, "relay", NEW);
    assert_eq!(property(&container, "stillwatch-relay", "ActiveState"), "inactive");
    container.run("systemctl start stillwatch-relay");

    container.run("dpkg --remove stillwatch-relay");
    assert_eq!(container.run("systemctl is-active stillwatch-relay || true").trim(), "inactive");
    container.run("test -e /etc/stillwatch/relay.toml && test -d /var/lib/stillwatch-relay");
    install(&container, "relay", NEW);
    assert_eq!(container.run("systemctl is-enabled stillwatch-relay").trim(), "enabled");
    container.run("dpkg --purge stillwatch-relay");
    nothing_fails(&container);
    assert_eq!(ours(&container), before, "left behind");
    container.run("test ! -e /etc/stillwatch");
    // Debian's policy, and ours: docs/packages.md.
    container.run("getent passwd stillwatch-relay");
}

#[test]
fn nobody_is_refused_while_the_relay_restarts_or_is_upgraded() {
    let container = Container::boot();
    set_password(&container);
    install(&container, "relay", OLD);
    upload(&container, &card());
    picture(&container);
    let load = under_load(&container, 4, || {
        for _ in 0..3 {
            container.run("systemctl restart stillwatch-relay");
        }
        install(&container, "relay", NEW);
        container.run("systemctl restart stillwatch-relay");
    });
    eprintln!("{load}");
    assert!(load.answered > 100, "{load}");
    assert_eq!((load.refused, load.cut, load.turned_away), (0, 0, 0), "{load}");
}

#[test]
fn the_relays_unit_is_closed_bounded_and_watched() {
    let container = Container::boot();
    set_password(&container);
    install(&container, "relay", OLD);
    let unit = "stillwatch-relay";
    container.run("systemd-analyze security --no-pager --threshold=15 stillwatch-relay");
    for limit in ["MemoryMax", "TasksMax"] {
        assert_ne!(property(&container, unit, limit), "infinity", "{limit}");
    }

    // The password came as a credential, and to nobody else.
    let process = property(&container, unit, "MainPID");
    let variables = container.run(&format!("tr '\\0' '\\n' </proc/{process}/environ"));
    assert!(!variables.contains(PASSWORD), "{variables}");
    let folder = variables.lines().find_map(|line| line.strip_prefix("CREDENTIALS_DIRECTORY="));
    let file = format!("{}/password", folder.expect("a folder for credentials"));
    assert_eq!(container.run(&format!("cat {file}")).trim(), PASSWORD);
    for user in ["owner", "nobody"] {
        let tried = container.try_run(SOON, &format!("runuser -u {user} -- cat {file}")).unwrap();
        assert_ne!(tried.status, 0, "{user} reads {file}");
    }
    assert!(!container.journal("-b").contains(PASSWORD));

    // It hangs: systemd's watchdog ends it and starts it anew.
    let card = card();
    upload(&container, &card);
    container.run("mkdir -p /run/systemd/system/stillwatch-relay.service.d");
    let sooner = "[Service]\nWatchdogSec=3\n";
    container.put("/run/systemd/system/stillwatch-relay.service.d/sooner.conf", 0o644, sooner);
    container.run("systemctl daemon-reload && systemctl restart stillwatch-relay");
    assert_eq!(picture(&container).body, card);
    let hung = property(&container, unit, "MainPID");
    container.run(&format!("kill -STOP {hung}"));
    eventually("another process", SOON, || match property(&container, unit, "MainPID") {
        process if process != "0" && process != hung => Ok(()),
        process => Err(process),
    });
    assert_eq!(picture(&container).body, card);
    assert!(container.journal("-b -u stillwatch-relay").contains("Watchdog timeout"));
}

#[test]
fn a_user_runs_a_relay_of_their_own() {
    let container = Container::boot();
    install(&container, "relay", OLD);
    container.run("loginctl enable-linger owner");
    let mut state = String::new();
    eventually("the user's systemd", SOON, || {
        state = as_owner(&container, "systemctl --user is-system-running --wait")?.text;
        if state.trim() == "running" { Ok(()) } else { Err(state.clone()) }
    });
    // Nothing is configured: it does not start, and does not try again and again.
    as_owner(&container, "systemctl --user enable --now stillwatch-relay").unwrap();
    let run = |command: &str| {
        let output = as_owner(&container, command).unwrap();
        assert_eq!(output.status, 0, "{command}: {}", output.text);
        output.text
    };
    assert_eq!(
        run("systemctl --user show --value -p ActiveState stillwatch-relay").trim(),
        "inactive"
    );

    let password = format!("umask 077 && echo {PASSWORD} >~/.config/stillwatch/relay.password");
    run(&format!("mkdir -p ~/.config/stillwatch && {password}"));
    let refused = as_owner(&container, "stillwatch-relay init --domain cam.example.org").unwrap();
    assert!(refused.status != 0 && refused.text.contains("root's to open"), "{refused:?}");
    run("stillwatch-relay init");
    run("systemctl --user is-active stillwatch-relay.socket stillwatch-relay.service");
    run("printf \"\\n[site]\\ntitle = \\\"Mine\\\"\\n\" >>~/.config/stillwatch/relay.toml");
    let card = card();
    upload(&container, &card);
    run("systemctl --user restart stillwatch-relay");
    assert_eq!(picture(&container).body, card);
    let page = eventually("the page", SOON, || container.inside(|| get(RELAY, "/")));
    assert!(String::from_utf8_lossy(&page.body).contains("Mine"));
    let owned = container.run("ps -o user= -C stillwatch-relay").trim().to_owned();
    assert_eq!(owned, "owner");

    // An upgrade is theirs, too; it starts with the machine, and ends when the package goes.
    let process = || container.run("pgrep -x stillwatch-rela");
    let old = process();
    install(&container, "relay", NEW);
    assert_ne!(process(), old);
    container.reboot();
    assert_eq!(picture(&container).body, card);
    container.run("dpkg --remove stillwatch-relay");
    eventually("its end", SOON, || match container.try_run(SOON, "pgrep -x stillwatch-rela") {
        Ok(output) if output.status == 1 => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn agent_and_relay_of_one_machine() {
    let container = Container::boot();
    let before = ours(&container);
    set_password(&container);
    install(&container, "relay", OLD);
    // dpkg asks before it puts the package's, which is all comments, in the place of what is there already.
    let settings = "[upload]\nrelay = \"http://127.0.0.1:5000/\"\n[camera]\nsource = \"pattern\"\nsize = \"320x240\"\n\
                    [agent]\nclock = \"trusted\"\n";
    container.put("/etc/stillwatch/agent.toml", 0o644, settings);
    container.put("/etc/dpkg/dpkg.cfg.d/answer", 0o644, "force-confold\n");
    install(&container, "agent", OLD);
    assert_eq!(String::from_utf8_lossy(&container.get("/etc/stillwatch/agent.toml")), settings);
    picture(&container);
    let status = container.eventually(
        "an agent that uploads",
        SOON,
        "stillwatch-agent status | grep -x 'upload: works.*'",
    );
    assert!(status.contains("works"), "{status}");
    assert_eq!(property(&container, "stillwatch-healer.socket", "ActiveState"), "active");
    nothing_fails(&container);

    let old = property(&container, "stillwatch-agent", "MainPID");
    install(&container, "agent", NEW);
    assert_ne!(property(&container, "stillwatch-agent", "MainPID"), old);
    container.reboot();
    picture(&container);
    nothing_fails(&container);

    // The password is both services': it goes with the last one.
    container.run("dpkg --purge stillwatch-relay && test -e /etc/stillwatch/relay.password");
    container.run("dpkg --purge stillwatch-agent && test ! -e /etc/stillwatch");
    nothing_fails(&container);
    assert_eq!(ours(&container), before, "left behind");
}

/// As a runtime for containers starts it: by what the image says, as its user, in its files, and with nothing else.
#[test]
fn the_image_for_containers_takes_an_upload() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let extract = |archive: &Path, folder: &Path| {
        fs::create_dir(folder).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("--extract").arg("--file").arg(archive).arg("--directory").arg(folder);
        assert!(tar.status().unwrap().success());
    };
    let mut oci = Command::new(of_repository("scripts/oci"));
    oci.args(["amd64", "--deb"]).arg(package("relay", OLD)).arg("--output").arg(path("dist"));
    let made = oci.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    extract(&path("dist").join(format!("stillwatch-relay_{OLD}_amd64.oci.tar")), &path("image"));
    let json = |file: &Path| -> Value {
        serde_json::from_slice(&fs::read(file).unwrap()).expect("it is JSON")
    };
    let blob = |of: &Value| {
        let digest = of["digest"].as_str().unwrap().replace(':', "/");
        path("image").join("blobs").join(digest)
    };
    let index = json(&path("image").join("index.json"));
    let entry = &index["manifests"][0];
    let name = entry["annotations"]["org.opencontainers.image.ref.name"].as_str();
    assert_eq!(name, Some(&*format!("stillwatch-relay:{OLD}")));
    let manifest = json(&blob(entry));
    let config = &json(&blob(&manifest["config"]))["config"];
    assert!(config["ExposedPorts"]["5000/tcp"].is_object(), "{config}");
    assert_eq!(config["StopSignal"], "SIGTERM");
    let revision = config["Labels"]["org.opencontainers.image.revision"].as_str();
    assert_eq!(revision.map(str::len), Some(40), "{config}");
    extract(&blob(&manifest["layers"][0]), &path("root"));

    let text = |key: &str| config[key].as_str().unwrap().to_owned();
    // For whoever gives it a volume (docs/packages.md).
    assert_eq!(text("User"), "900:900");
    let (user, group) =
        text("User").split_once(':').map(|(u, g)| (u.to_owned(), g.to_owned())).unwrap();
    let mut relay = Command::new("unshare");
    relay
        .arg(format!("--root={}", path("root").display()))
        .arg(format!("--wd={}", text("WorkingDir")))
        .args([format!("--setgid={group}"), format!("--setuid={user}")])
        .arg(config["Entrypoint"][0].as_str().unwrap())
        .env_clear()
        .envs([("PASSWORD", PASSWORD), ("STILLWATCH_RELAY_LISTEN", "127.0.0.1:0")])
        .envs(config["Env"].as_array().unwrap().iter().filter_map(|v| v.as_str()?.split_once('=')));
    let mut relay = Program::start("relay", &mut relay);
    relay.line("keeping frames in /var/lib/stillwatch-relay");
    let line = relay.line("listening on ");
    let address = line.rsplit(' ').next().unwrap().parse().unwrap();
    let card = card();
    let upload = format!("/?password={PASSWORD}");
    let sent = request(address, "POST", &upload, &[("Content-Type", "image/jpeg")], &card);
    assert_eq!(sent.unwrap().status(), 200);
    assert_eq!(get(address, "/live.jpeg").unwrap().body, card);
    assert!(relay.stop().success());
    let kept = fs::metadata(path("root/var/lib/stillwatch-relay/stillwatch.db")).unwrap();
    assert_eq!(kept.uid().to_string(), user);
}
