//! The setup page's form: from what a browser sends to the text of a stillwatch.toml, and from its
//! mistakes to the fields they are about. Pure.

use std::fmt::Write;

use runtime::settings::written::{Mistake, quoted};
use runtime::setup::{Heard, Wants};

/// No field of a form has more; what is longer is cut, and then refused as what it is.
const MAX_FIELD: usize = 2048;

/// What `network` holds if none of the list is chosen.
pub(super) const OTHER: &str = "";
pub(super) const CABLE: &str = "\u{0}cable";

/// What was entered.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub name: String,
    pub country: String,
    /// A name of the list, [`OTHER`] or [`CABLE`].
    pub network: String,
    pub other: String,
    pub wifi_password: String,
    pub relay: String,
    pub relay_password: String,
    pub viewer: bool,
}

/// What is wrong, by field; without one, what is wrong with the whole.
pub(super) type Mistakes = Vec<(Option<&'static str>, String)>;

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It holds passwords.
        f.debug_struct("Form").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Form {
    /// As a browser sends it (application/x-www-form-urlencoded).
    pub(super) fn read(body: &[u8]) -> Form {
        let mut form = Form::default();
        for (key, value) in form_urlencoded::parse(body) {
            let value: String = value.chars().take(MAX_FIELD).collect();
            match &*key {
                "name" => form.name = value.trim().to_owned(),
                "country" => form.country = value.trim().to_owned(),
                "network" if value == "cable:" => form.network = CABLE.to_owned(),
                "network" => {
                    form.network = value.strip_prefix("wifi:").unwrap_or_default().to_owned()
                }
                "other" => form.other = value,
                "wifi_password" => form.wifi_password = value,
                "relay" => form.relay = value.trim().to_owned(),
                "relay_password" => form.relay_password = value,
                "viewer" => form.viewer = true,
                _ => {}
            }
        }
        form
    }

    /// The network that was chosen; `None`: a cable.
    pub(super) fn ssid(&self) -> Option<&str> {
        match self.network.as_str() {
            CABLE => None,
            OTHER => Some(&self.other),
            listed => Some(listed),
        }
    }

    /// Who corrects one field need not write the relay's password again, if it is the same relay.
    pub(super) fn completed(mut self, before: Option<&Form>) -> Form {
        if let Some(before) = before
            && self.relay_password.is_empty()
            && self.relay == before.relay
        {
            self.relay_password.clone_from(&before.relay_password);
        }
        self
    }

    /// What can be said without the camera's own checks.
    pub(super) fn mistakes(&self, networks: &[Heard]) -> Mistakes {
        let mut mistakes = Mistakes::new();
        let chosen = self.ssid().and_then(|ssid| networks.iter().find(|n| n.ssid == ssid));
        if let (Some(heard), true) = (chosen, self.wifi_password.is_empty()) {
            let why = match heard.wants {
                Wants::Nothing => None,
                Wants::Password => Some("this network wants a password"),
                Wants::Account => None,
            };
            mistakes.extend(why.map(|why| (Some("wifi_password"), why.to_owned())));
        }
        if chosen.is_some_and(|heard| heard.wants == Wants::Account) {
            let why = "in this network everybody has an account of his own: write it on the card \
                       (wifi.identity)";
            mistakes.push((Some("network"), why.to_owned()));
        }
        mistakes
    }

    /// As it would stand on the card.
    pub(super) fn text(&self) -> String {
        let mut out = String::from("# Written by the camera's setup page.\n");
        // Writing to a String can't fail.
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(out, "{key} = {}", quoted(value));
        };
        line("name", &self.name);
        let mut wifi = String::new();
        if let Some(ssid) = self.ssid() {
            let _ = write!(
                wifi,
                "\n[wifi]\ncountry = {}\nssid = {}\n",
                quoted(&self.country),
                quoted(ssid)
            );
            // Without the line: a network without a password.
            if !self.wifi_password.is_empty() {
                let _ = writeln!(wifi, "password = {}", quoted(&self.wifi_password));
            }
            // Whoever types a name may well type that of one that is hidden, and it does no harm.
            if self.network == OTHER {
                wifi += "hidden = true\n";
            }
        }
        let _ = write!(
            out,
            "viewer = {}\n{wifi}\n[relay]\nurl = {}\npassword = {}\n",
            self.viewer,
            quoted(&self.relay),
            quoted(&self.relay_password)
        );
        out
    }
}

/// The fields that these mistakes are about, without the lines of a text that nobody has seen.
pub(super) fn by_field(mistakes: &[Mistake]) -> Mistakes {
    mistakes.iter().map(|mistake| located(&mistake.text)).collect()
}

fn located(text: &str) -> (Option<&'static str>, String) {
    for (key, field) in [
        ("name", "name"),
        ("wifi.country", "country"),
        ("wifi.ssid", "network"),
        ("wifi.password", "wifi_password"),
        ("relay.url", "relay"),
        ("relay.password", "relay_password"),
    ] {
        if let Some(rest) = text.strip_prefix(key).and_then(|rest| rest.strip_prefix(": ")) {
            return (Some(field), rest.to_owned());
        }
    }
    (None, text.to_owned())
}

/// Where a browser of these languages (`de-DE,de;q=0.9`) most likely is: two letters, or none.
pub(super) fn country_of(languages: &str) -> String {
    let tags = languages.split(',').filter_map(|tag| tag.split(';').next());
    let regions = tags.filter_map(|tag| tag.trim().split('-').nth(1));
    let mut plain = regions
        .filter(|region| region.len() == 2 && region.bytes().all(|b| b.is_ascii_alphabetic()));
    plain.next().unwrap_or_default().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form() -> Form {
        Form::read(
            b"name=garden&country=de&network=wifi%3AMy+Home&other=&wifi_password=hun%22ter+22\
              &relay=+https%3A%2F%2Fcam.example.org%2F+&relay_password=s3cret&viewer=on",
        )
    }

    #[test]
    fn it_becomes_the_cards_text() {
        let expected = "# Written by the camera's setup page.\nname = \"garden\"\nviewer = true\n\n\
            [wifi]\ncountry = \"de\"\nssid = \"My Home\"\npassword = 'hun\"ter 22'\n\n\
            [relay]\nurl = \"https://cam.example.org/\"\npassword = \"s3cret\"\n";
        assert_eq!(form().text(), expected);
        let open = Form { wifi_password: String::new(), ..form() };
        assert_eq!(open.text().matches("password").count(), 1);
        let hidden = Form { network: OTHER.into(), other: "Attic".into(), ..form() };
        assert!(
            hidden.text().contains("ssid = \"Attic\"\n") && hidden.text().contains("hidden = true")
        );
        let cable = Form { network: CABLE.into(), ..form() };
        assert!(!cable.text().contains("[wifi]"), "{}", cable.text());
        assert!(!format!("{:?}", form()).contains("s3cret"));
    }

    #[test]
    fn mistakes_find_their_fields() {
        let mistake = |text: &str| Mistake { line: 3, text: text.to_owned() };
        let found = by_field(&[
            mistake("wifi.password: a WiFi password has 8 to 63 characters"),
            mistake("name: 1 to 32 of a-z"),
            mistake("the moon is missing"),
        ]);
        assert_eq!(
            found[0],
            (Some("wifi_password"), "a WiFi password has 8 to 63 characters".into())
        );
        assert_eq!((found[1].0, found[2].0), (Some("name"), None));
    }

    #[test]
    fn a_network_that_wants_a_password_gets_one() {
        let heard = |wants| [Heard { ssid: "My Home".into(), signal: -50, wants }];
        let open = Form { wifi_password: String::new(), ..form() };
        assert_eq!(open.mistakes(&heard(Wants::Password))[0].0, Some("wifi_password"));
        assert_eq!(open.mistakes(&heard(Wants::Nothing)), []);
        assert_eq!(form().mistakes(&heard(Wants::Account))[0].0, Some("network"));
        assert_eq!(form().mistakes(&[]), []);
    }

    #[test]
    fn the_relays_password_goes_to_no_other_relay() {
        let again = Form { relay_password: String::new(), ..form() };
        assert_eq!(again.clone().completed(Some(&form())), form());
        let elsewhere = Form { relay: "https://evil.example/".into(), ..again };
        assert_eq!(elsewhere.completed(Some(&form())).relay_password, "");
    }

    #[test]
    fn a_phone_says_where_it_is() {
        for (languages, country) in
            [("de-DE,de;q=0.9", "DE"), ("en,en-gb;q=0.8", "GB"), ("zh-Hant-TW", ""), ("", "")]
        {
            assert_eq!(country_of(languages), country, "{languages}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_stays_a_value(
            name in ".{0,40}", other in ".{0,40}", password in ".{0,40}", relay in ".{0,40}"
        ) {
            let form = Form { name, other, relay, wifi_password: password.clone(),
                relay_password: password, ..Form::default() };
            let text = form.text();
            let table: toml::Table = text.parse().unwrap();
            prop_assert_eq!(table.keys().count(), 4, "{}", text);
            prop_assert_eq!(table["relay"]["url"].as_str(), Some(form.relay.as_str()));
            prop_assert_eq!(table["wifi"]["ssid"].as_str(), Some(form.other.as_str()));
        }
    }
}
