//! `stillwatch-relay doctor`: looks at everything that a relay needs, and says what to do about what is missing.
//!
//! Each check is a pure verdict over facts (`judge_…`) and, beside it or in `network.rs`, the little that gathers them.

mod files;
mod finding;
mod machine;
mod network;
mod public;
mod service;
mod tls;

use reqwest::Client;
use runtime::clock;
use runtime::settings::ConfigError;
use serde_json::Value;

use crate::cli;
use crate::client::client;
use crate::config::{Config, Credentials, Places};
use crate::tls::{Source, TlsConfig};
use crate::units::{Manager, Needs};
use finding::Finding;
pub(crate) use finding::Findings;
use network::Way;
use public::{Public, Who};
use service::Answer;

/// Looks at all of it; one thing after the other, each within its time.
pub(crate) async fn run(flags: &cli::Settings) -> Findings {
    let manager = Manager::own();
    let file = flags.config.clone().unwrap_or_else(|| crate::config::DEFAULT_FILE.into());
    let file = std::path::absolute(&file).unwrap_or(file);
    let config = load(flags, &file);
    let mut found = vec![files::configuration(&file, &config)];
    found.extend(files::named_files(&file));
    found.push(machine::clock());
    let units = service::units(manager).await;
    let Ok(config) = config else {
        // What can be said all the same.
        let unknown = Needs { https: false, usual_port: true };
        found.extend(service::judge_units(units.as_ref(), manager, unknown, 0));
        if let Ok(places) = Places::load(flags) {
            found.extend(machine::disk(&places.data_dir, 0));
        }
        return Findings::new(found);
    };
    found.extend(files::passwords(&config));
    let connections = config.connections.total as u64;
    let needs = Needs { https: config.tls.is_some(), usual_port: config.listen_is_usual };
    found.extend(service::judge_units(units.as_ref(), manager, needs, connections));
    let wanted =
        (config.uploads.max_uploads as u64).saturating_mul(config.uploads.max_frame_bytes as u64);
    found.push(machine::memory(wanted));
    found.extend(machine::disk(&config.data_dir, config.history.max_bytes));
    match client(&[], network::WITHIN) {
        Ok(client) => found.extend(asked(&client, &config, units.as_ref()).await),
        Err(why) => found.push(Finding::wrong("network", why, "apt install ca-certificates")),
    }
    Findings::new(found)
}

/// As the unit would: with the passwords that systemd gives to it.
fn load(flags: &cli::Settings, file: &std::path::Path) -> Result<Config, ConfigError> {
    let credentials = Credentials::of_files(file.parent().unwrap_or(file))?;
    Config::load_with(flags, credentials)
}

/// What is only known by asking.
async fn asked(client: &Client, config: &Config, units: Option<&service::Units>) -> Vec<Finding> {
    let listens = units.and_then(service::passed).unwrap_or(config.listen);
    let mut way = Way::plain(client, service::from_here(listens));
    let mut here = network::health(&way.client, &way.url).await;
    let mut secure = Vec::new();
    if let Some(config) = &config.tls {
        let (judged, answer) = https(config).await;
        secure = judged;
        // Where plain HTTP is sent on to HTTPS for everybody (`relay.proxies`), the relay is found there.
        if let (Answer::Other(_), Some((way_there, there @ Answer::Relay(_)))) = (&here, answer) {
            (way, here) = (way_there, there);
        }
    }
    let mut found = service::judge_answer(listens, &here, runtime::version::full());
    let runs = matches!(here, Answer::Relay(_));
    let status = if runs { network::status(&way.client, &way.url).await } else { None };
    let status = status.unwrap_or_default();
    found.extend(judge_cameras(&status));
    found.extend(judge_cluster(&status));
    found.extend(secure);
    let Some(public) = config.pages.url.as_deref().and_then(Public::read) else {
        found.push(Finding::warning(
            "reachability",
            "how the world calls this relay is not known, so it is not tried",
            "site.url, or tls.domain: stillwatch-relay init --domain NAME writes it",
        ));
        return found;
    };
    let there = network::health(client, &public.url).await;
    let who = public::who(&here, &there);
    if public.has_name() {
        let addresses = network::resolve(&public.host).await;
        let own = network::own_addresses();
        found.push(public::judge_name(&public.host, &addresses, &own, who));
    }
    found.push(public::judge_reached(&public, who, &there));
    if who == Who::Ours {
        found.extend(passed_on(client, config, &public, has_picture(&status)).await);
    }
    found
}

/// Whether it shares frames with others, if it should.
fn judge_cluster(status: &Value) -> Option<Finding> {
    let cluster = status.get("cluster")?;
    let text = |of: &Value, key: &str| of.get(key)?.as_str().map(str::to_owned);
    let relays = cluster.get("relays").and_then(Value::as_array).map(Vec::as_slice);
    let relays = relays.unwrap_or_default();
    if let Some(problem) = text(cluster, "problem") {
        return Some(Finding::wrong(
            "cluster",
            problem,
            "systemctl status nats-server there; docs/guide/scale.md",
        ));
    }
    let off = |relay: &&Value| {
        relay.get("clock_offset_ms").and_then(Value::as_i64).is_some_and(|ms| ms.abs() > 2_000)
    };
    let named = |relays: &mut dyn Iterator<Item = &Value>| {
        relays.filter_map(|relay| text(relay, "relay")).collect::<Vec<_>>().join(", ")
    };
    let missing = |relay: &&Value| text(relay, "state").is_some_and(|state| state == "missing");
    if let Some(says) = text(cluster, "differs") {
        return Some(Finding::warning(
            "cluster",
            says,
            "docs/guide/scale.md, \"Three NATS servers\"",
        ));
    }
    let (missing, off) =
        (named(&mut relays.iter().filter(missing)), named(&mut relays.iter().filter(off)));
    Some(if !missing.is_empty() {
        Finding::warning("cluster", format!("not heard any more: {missing}"), "look there")
    } else if !off.is_empty() {
        let says =
            format!("other clocks than this one: {off}; ages of pictures are wrong by as much");
        Finding::warning("cluster", says, "timedatectl, there and here: is time synchronised?")
    } else {
        Finding::ok(
            "cluster",
            format!("frames are shared, and {} other relays heard", relays.len()),
        )
    })
}

/// HTTPS of the relay's own, asked on this machine; with how it was asked, and what was answered.
async fn https(config: &TlsConfig) -> (Vec<Finding>, Option<(Way, Answer)>) {
    let (by_itself, authorities) = match &config.source {
        Source::Acme(acme) => (true, acme.roots.as_slice()),
        Source::Files(_) => (false, [].as_slice()),
    };
    let known = tls::certificate(config).await;
    let name = tls::name(config, known.as_ref().ok().and_then(Option::as_ref));
    let now = clock::wall_us() / 1_000_000;
    let mut found = vec![tls::judge_certificate(name.as_deref(), by_itself, &known, now)];
    let (Some(name), Ok(Some(_))) = (name, known) else { return (found, None) };
    match Way::secure(authorities, &name, service::from_here(config.listen)) {
        Ok(way) => {
            let answer = network::health(&way.client, &way.url).await;
            found.push(tls::judge_shown(config.listen, &answer));
            (found, Some((way, answer)))
        }
        Err(why) => {
            found.push(Finding::wrong("tls", why, "apt install ca-certificates"));
            (found, None)
        }
    }
}

/// Whether all that a relay says gets to its viewers.
async fn passed_on(
    client: &Client,
    config: &Config,
    public: &Public,
    has_picture: bool,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let redirect = config.tls.as_ref().map_or(Some(80), |tls| Some(tls.redirect_listen?.port()));
    if !public.https {
        found.push(Finding::warning(
            "tls",
            "it speaks plain http: passwords can be read on the way, and cameras outside of the local network refuse it",
            "stillwatch-relay init --domain NAME, or a proxy before it (docs/deploy.md)",
        ));
    } else if let Some(port) = redirect {
        let answer = network::redirect(client, &public.host, port).await;
        found.push(public::judge_redirect(&public.host, &answer));
    }
    found.push(public::judge_socket(&network::websocket(client, &public.url).await));
    found.push(public::judge_moving(network::mjpeg(client, &public.url, has_picture).await));
    found
}

fn cameras(status: &Value) -> impl Iterator<Item = &Value> {
    status["cameras"].as_array().into_iter().flatten()
}

/// Whether the camera without a name, which is asked for, has a picture.
fn has_picture(status: &Value) -> bool {
    cameras(status).any(|camera| camera["camera"] == "default" && !camera["bytes"].is_null())
}

/// Cameras whose own times do not count, because they are ahead of ours or not known to be right.
fn judge_cameras(status: &Value) -> Option<Finding> {
    let is_live = |camera: &&Value| camera["state"] == "live";
    let live: Vec<&Value> = cameras(status).filter(is_live).collect();
    let name = |camera: &Value| camera["camera"].as_str().unwrap_or_default().to_owned();
    let without: Vec<String> = live
        .iter()
        .filter(|camera| camera["time_source"] == "arrived")
        .map(|camera| name(camera))
        .collect();
    if live.is_empty() {
        return None;
    }
    Some(if without.is_empty() {
        Finding::ok("cameras", format!("live: {}, and their clocks are believed", live.len()))
    } else {
        Finding::warning(
            "cameras",
            format!(
                "the capture times of these are not known, or ahead of this clock: {}",
                without.join(", ")
            ),
            "let them reach a time server (stillwatch-agent network says whether they do); pictures count from their \
             arrival until then",
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::finding::Verdict;
    use super::*;

    #[test]
    fn cameras_without_a_clock_are_named() {
        let camera = |id: &str, state: &str, source: &str| json!({ "camera": id, "state": state, "time_source": source, "bytes": 1 });
        let judge = |cameras: Vec<Value>| judge_cameras(&json!({ "cameras": cameras }));
        assert!(judge(vec![camera("shed", "offline", "arrived")]).is_none());
        assert_eq!(judge(vec![camera("shed", "live", "captured")]).unwrap().verdict, Verdict::Ok);
        let found =
            judge(vec![camera("shed", "live", "captured"), camera("garden", "live", "arrived")])
                .unwrap();
        assert!(found.verdict == Verdict::Warning && found.says.ends_with(": garden"), "{found:?}");
        assert!(judge_cameras(&Value::Null).is_none());
    }

    #[test]
    fn what_keeps_relays_apart_is_found() {
        let relay =
            |state: &str, ms: i64| json!({ "relay": "b", "state": state, "clock_offset_ms": ms });
        let judge = |problem: Value, relay: Value| {
            let cluster = json!({ "problem": problem, "relays": [relay] });
            judge_cluster(&json!({ "cluster": cluster })).unwrap().verdict
        };
        assert_eq!(judge(Value::Null, relay("heard", -2_000)), Verdict::Ok);
        assert_eq!(judge(Value::Null, relay("missing", 0)), Verdict::Warning);
        assert_eq!(judge(Value::Null, relay("heard", -2_001)), Verdict::Warning);
        assert_eq!(judge(json!("no bus"), relay("heard", 0)), Verdict::Wrong);
        assert!(judge_cluster(&json!({})).is_none(), "it is in none");
    }

    #[test]
    fn a_picture_to_wait_for() {
        let status = |bytes: Value| json!({ "cameras": [{ "camera": "default", "bytes": bytes }] });
        assert!(
            has_picture(&status(json!(5)))
                && !has_picture(&status(Value::Null))
                && !has_picture(&Value::Null)
        );
    }
}
