//! `stillwatch-status.txt`: what was found, on the card, for somebody who reads it on any computer. Pure.

use runtime::settings::written::Mistake;
use runtime::setup::ADDRESS;

use crate::access_point::AccessPoint;
use crate::card::Card;
use crate::forgive::Unreadable;

/// What became of the card's file.
#[derive(Debug, PartialEq)]
pub(crate) enum Finding {
    /// It is right, and in force. The secrets were taken from it, or why not.
    Right { kept: Result<(), String> },
    /// Nothing stands in it but what the setup access point goes by.
    SetupOnly,
    /// There is none; perhaps one under this name.
    Missing { misnamed: Option<&'static str> },
    /// It can't be read.
    Unreadable(Unreadable),
    /// It has mistakes.
    Wrong(Vec<Mistake>),
}

/// What the initrd says became of the data partition (`/run/stillwatch/data`, image/initrd/init).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    /// Nothing, or it said nothing.
    Fine,
    Repaired,
    Recreated,
    /// There is none: the camera runs from memory.
    Memory,
}

impl Data {
    /// Of the initrd's word.
    pub(crate) fn named(word: &str) -> Data {
        match word.trim() {
            "repaired" => Data::Repaired,
            "recreated" => Data::Recreated,
            "memory" => Data::Memory,
            _ => Data::Fine,
        }
    }

    /// For the card's owner; `None` if all is well.
    pub(crate) fn sentence(self) -> Option<&'static str> {
        match self {
            Data::Fine => None,
            Data::Repaired => Some(
                "This card was damaged, and is repaired. If that happens again, it is worn: take a new one.",
            ),
            Data::Recreated => Some(
                "This card was damaged beyond repair: what the camera had learnt is lost, it goes on \
                 without. Take a new card.",
            ),
            Data::Memory => Some(
                "This card can't be written to: the camera works, but forgets everything with each \
                 start. Take a new card.",
            ),
        }
    }
}

/// The whole report. `in_force` is what the camera goes on with; if nothing is, there is a setup access
/// point.
pub(crate) fn report(
    finding: &Finding,
    in_force: Option<&Card>,
    access_point: Option<&AccessPoint>,
    data: Data,
) -> String {
    let mut lines = vec![format!("Stillwatch {}", runtime::version::full()), String::new()];
    match finding {
        Finding::Right { kept: Ok(()) } => lines.extend([
            "stillwatch.toml is all right.".to_owned(),
            "The passwords are in the camera now, and no longer in this file.".to_owned(),
        ]),
        Finding::Right { kept: Err(why) } => lines.extend([
            "stillwatch.toml is all right, but the passwords stay in it:".to_owned(),
            format!("    {why}"),
        ]),
        Finding::SetupOnly => lines.push("stillwatch.toml leaves all to the setup page.".to_owned()),
        Finding::Missing { misnamed: Some(name) } => {
            lines.push(format!("There is no stillwatch.toml on this card, but a {name}: rename it."));
        }
        Finding::Missing { misnamed: None } => lines.push(
            "There is no stillwatch.toml on this card. Copy stillwatch-example.toml to that name, and \
             fill it in."
                .to_owned(),
        ),
        Finding::Unreadable(why) => lines.push(format!("stillwatch.toml can't be read: {why}.")),
        Finding::Wrong(mistakes) => {
            let count = mistakes.len();
            let noun = if count == 1 { "mistake" } else { "mistakes" };
            lines.push(format!("stillwatch.toml has {count} {noun}:"));
            lines.push(String::new());
            lines.extend(mistakes.iter().map(|mistake| format!("    {mistake}")));
        }
    }
    lines.push(String::new());
    let is_right = matches!(finding, Finding::Right { .. });
    match in_force {
        Some(card) if is_right => lines.extend(what_is_in_force(card)),
        Some(card) => {
            lines.push("The camera goes on with what was right last:".to_owned());
            lines.extend(what_is_in_force(card));
        }
        None => lines.push("The camera can't upload until this is put right.".to_owned()),
    }
    lines.extend(access_point.into_iter().flat_map(how_to_set_up));
    lines.extend(data.sentence().into_iter().flat_map(|what| [String::new(), what.to_owned()]));
    // For the oldest editors of Windows.
    lines.iter().flat_map(|line| [line, "\r\n"]).collect()
}

fn how_to_set_up(access_point: &AccessPoint) -> Vec<String> {
    let AccessPoint { name, password } = access_point;
    vec![
        String::new(),
        "Or set it up with a phone: for 10 minutes after power-on there is a WiFi network"
            .to_owned(),
        String::new(),
        format!("    name:     {name}"),
        format!("    password: {password}"),
        String::new(),
        format!("Join it; the page opens by itself, or is found at http://{ADDRESS}/"),
    ]
}

fn what_is_in_force(card: &Card) -> Vec<String> {
    let wifi =
        card.wifi.as_ref().map_or("none; by cable only".to_owned(), |wifi| wifi.ssid.clone());
    let address = card.fixed.as_ref().map_or("by DHCP", |fixed| fixed.address.as_str());
    let ssh = if card.ssh_key.is_some() { "with the key given" } else { "off" };
    vec![
        format!("    name:     {}", card.name),
        format!("    WiFi:     {wifi}"),
        format!("    address:  {address}"),
        format!("    relay:    {}", card.relay_addresses()),
        format!("    SSH:      {ssh}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        let text = "[wifi]\ncountry = \"de\"\nssid = \"Home\"\npassword = \"hunter22\"\n\
                    [relay]\nurl = \"https://cam.example.org/ http://10.0.0.1\"\npassword = \"s3cret\"\n";
        crate::card::read(text, |_| true).unwrap()
    }

    #[test]
    fn it_says_what_is_wrong_and_what_is_in_force_and_no_password() {
        let wrong = Finding::Wrong(vec![Mistake { line: 7, text: "wifi.ssid: is missing".into() }]);
        let text = report(&wrong, Some(&card()), None, Data::Fine);
        assert!(text.contains("has 1 mistake:\r\n\r\n    line 7: wifi.ssid"), "{text}");
        assert!(
            text.contains("goes on with what was right last:\r\n    name:     camera"),
            "{text}"
        );
        assert!(
            text.contains("    relay:    https://cam.example.org/ http://10.0.0.1/\r\n"),
            "{text}"
        );
        let all = [Finding::Right { kept: Ok(()) }, Finding::Missing { misnamed: None }, wrong];
        for finding in &all {
            for in_force in [Some(&card()), None] {
                let text = report(finding, in_force, None, Data::Memory);
                assert!(text.contains("Take a new card."), "{text}");
                assert!(!text.contains("hunter22") && !text.contains("s3cret"), "{text}");
                assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
            }
        }
        let access_point =
            AccessPoint { name: "stillwatch-camera".into(), password: "abcd-efgh".into() };
        let text = report(&all[1], None, Some(&access_point), Data::Fine);
        assert!(
            text.contains("can't upload until") && text.contains("password: abcd-efgh\r\n"),
            "{text}"
        );
    }
}
