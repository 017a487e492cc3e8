//! `stillwatch-relay passwords …` and `stillwatch-relay link …`: they write the folder that the running relay reads;
//! neither waits for the other.

use std::fmt::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use frame::CameraId;
use frame::wire::format_time;
use runtime::clock;
use runtime::settings::parse_duration;

use super::folder::{Content, Folder, FolderError, Locked};
use super::link::Link;
use super::list::{Entry, Place, Unchanged};
use crate::card;
use crate::config::AccessFiles;
use crate::words::{self, NoRandom};

/// How long a link may be good for: ten years.
const MAX_LINK: Duration = Duration::from_secs(10 * 366 * 86_400);

/// What of passwords for uploads can be done by hand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a password; for a camera it replaces, from now on, the one that all cameras share
    Add(Whose),
    /// Make a password that follows the present one, which stays valid until the camera has moved on
    Rotate(Whose),
    /// Show which there are, and when each was used last
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a password open nothing any more; a second time forgets it
    Remove {
        /// Of all cameras that have none of their own
        #[arg(long)]
        all: bool,
        /// The camera (not with --all) and the number, as `list` shows them
        #[arg(value_names = ["CAMERA", "NUMBER"], num_args = 1..=2, required = true)]
        which: Vec<String>,
    },
}

/// For which cameras.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whose {
    /// Its id
    camera: Option<CameraId>,
    /// All cameras that have none of their own
    #[arg(long)]
    all: bool,
}

/// `stillwatch-relay link`.
#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// Its id
    #[arg(required_unless_present = "revoke_all", conflicts_with = "revoke_all")]
    camera: Option<CameraId>,
    /// How long the link is good, such as 7d or 12h
    #[arg(long = "for", value_name = "TIME", default_value = "7d", value_parser = link_time)]
    lasts: Duration,
    /// End all links that were ever given out
    #[arg(long)]
    revoke_all: bool,
}

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Unchanged(#[from] Unchanged),
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
    #[error(
        "say which one: a camera and a number, or --all and a number: passwords list shows them"
    )]
    Which,
    #[error(
        "camera {0} is not private, so everybody may see it without a link; make it private with \
         cameras.{0}.view_password_file (or all with site.view_password_file)"
    )]
    NotPrivate(CameraId),
}

/// Hours of the units that are longer.
const LONGER: [(char, u32); 2] = [('d', 24), ('w', 7 * 24)];

fn link_time(text: &str) -> Result<Duration, String> {
    let longer = LONGER.iter().find_map(|(unit, hours)| {
        let count: u32 = text.trim().strip_suffix(*unit)?.trim().parse().ok()?;
        Duration::from_secs(3_600).checked_mul(count.checked_mul(*hours)?)
    });
    let time =
        longer.or_else(|| parse_duration(text)).filter(|time| !time.is_zero() && *time <= MAX_LINK);
    time.ok_or_else(|| "write a time such as 12h, 7d or 4w, up to ten years".to_owned())
}

/// Does it; returns what to print.
pub(crate) fn run(command: &Command, files: &AccessFiles) -> Result<String, CommandError> {
    let folder = Folder::in_data(&files.data_dir);
    folder.become_owner()?;
    match command {
        Command::Add(whose) => add(&folder, &whose.place(), false, files),
        Command::Rotate(whose) => add(&folder, &whose.place(), true, files),
        Command::List { json: false } => Ok(list(&folder.read()?)),
        Command::List { json: true } => Ok(list_json(&folder.read()?)),
        Command::Remove { all, which } => remove(&folder, *all, which),
    }
}

/// Does `link`; returns what to print.
pub(crate) fn link(args: &LinkArgs, files: &AccessFiles) -> Result<String, CommandError> {
    let folder = Folder::in_data(&files.data_dir);
    folder.become_owner()?;
    let locked = folder.lock()?;
    let known = folder.read()?.links;
    let Some(camera) = args.camera.as_ref().filter(|_| !args.revoke_all) else {
        locked.new_link_key()?;
        let text = "all links that were given out have ended; pages that are open by one end within seconds\n";
        return Ok(text.to_owned());
    };
    if !files.is_private(camera) {
        return Err(CommandError::NotPrivate(camera.clone()));
    }
    let key = known.map_or_else(|| locked.new_link_key(), Ok)?;
    let lasts = i64::try_from(args.lasts.as_secs()).unwrap_or(i64::MAX);
    let now_s = clock::wall_us().div_euclid(1_000_000);
    let link = Link { camera: camera.clone(), expires_s: now_s.saturating_add(lasts) };
    let until = format_time(link.expires_s.saturating_mul(1_000_000), 0);
    let mut text = format!("{}cameras/{camera}/?key={}\n", files.url, link.to_text(&key));
    // Writing into a text does not fail.
    let _ = write!(
        text,
        "\nWhoever has this link sees camera {camera} until {until}. It opens the page;\n\
         live.jpeg, live.mjpeg and so on take the same ?key=.\n"
    );
    if let Some(note) = &files.url_note {
        let _ = writeln!(text, "{note}");
    }
    Ok(text)
}

impl Whose {
    fn place(&self) -> Place {
        self.camera.clone().map_or(Place::All, Place::Camera)
    }
}

fn add(
    folder: &Folder,
    place: &Place,
    follow: bool,
    files: &AccessFiles,
) -> Result<String, CommandError> {
    let locked = folder.lock()?;
    let Content { mut list, key, used, .. } = folder.read()?;
    let key = key.map_or_else(|| locked.new_password_key(), Ok)?;
    let password = words::password()?;
    // If there were two, there would be no place for this one.
    let before = list.of(place).find(|entry| entry.is_valid()).map(|entry| entry.number);
    let number = list.add(place, key.hash(password.expose()), clock::wall_us(), follow, &used)?;
    locked.write_list(&list)?;
    let camera = if let Place::Camera(id) = place { Some(id) } else { None };
    let lines = card::indented(&card::lines(&files.url, &password, camera));
    let mut text = format!(
        "password {number} of {place}, shown this once (only its hash is kept):\n\n    {}\n\n\
         On the camera's card, in stillwatch.toml:\n\n{lines}\n\
         Elsewhere: the file of the agent's upload.password_file.\n",
        password.expose()
    );
    text += &after(place, follow, before);
    if let Some(note) = &files.url_note {
        // Writing into a text does not fail.
        let _ = writeln!(text, "\n{note}");
    }
    Ok(text)
}

/// What becomes of the one that was valid before, if there was one.
fn after(place: &Place, follow: bool, before: Option<u32>) -> String {
    let argument = place.argument();
    match (place, follow, before) {
        (Place::Camera(id), true, None) => format!(
            "\nUntil {id} uses it, the password that all cameras share stays valid for {id}, too; then no more.\n"
        ),
        (Place::Camera(id), false, None) => format!(
            "\nFrom now on {id} takes no other: not the one that all cameras share (with rotate instead of add that one\n\
             stays valid until the first use).\n"
        ),
        (Place::Camera(id), true, Some(old)) => format!(
            "\nPassword {old} stays valid until {id} has used this one for a day, and password {old} not at all.\n\
             At once: stillwatch-relay passwords remove {argument} {old}\n"
        ),
        (Place::All, true, Some(old)) => format!(
            "\nPassword {old} stays valid until you remove it, because a camera that is switched off may have no other.\n\
             See passwords list, then: stillwatch-relay passwords remove {argument} {old}\n"
        ),
        (Place::All, _, None) => {
            "\nA password of relay.password_file, the credential or PASSWORD stays valid beside it.\n".to_owned()
        }
        (_, false, Some(old)) => format!("\nPassword {old} stays valid beside it.\n"),
    }
}

fn remove(folder: &Folder, all: bool, which: &[String]) -> Result<String, CommandError> {
    let (place, number) = match (all, which) {
        (true, [number]) => (Place::All, number),
        (false, [camera, number]) => {
            (Place::Camera(camera.parse().map_err(|_| CommandError::Which)?), number)
        }
        _ => return Err(CommandError::Which),
    };
    let number: u32 = number.parse().map_err(|_| CommandError::Which)?;
    let locked: Locked<'_> = folder.lock()?;
    let mut list = folder.read()?.list;
    let valid = list.remove(&place, number, clock::wall_us())?;
    locked.write_list(&list)?;
    if !valid {
        return Ok(format!("password {number} of {place}: forgotten\n"));
    }
    let mut text = format!(
        "password {number} of {place}: opens nothing any more; passwords list shows whether a camera still tries it\n"
    );
    let left = list.of(&place).any(Entry::is_valid);
    if let (Place::Camera(id), false) = (&place, left) {
        let _ = writeln!(
            text,
            "{id} has none of its own here any more: those of all cameras are valid for it again"
        );
    }
    Ok(text)
}

fn day(us: i64) -> String {
    format_time(us, 0).chars().take(10).collect()
}

/// Who used it, and when last.
fn uses(entry: &Entry, content: &Content) -> String {
    let mut by: Vec<_> = content.used.cameras(&entry.name()).collect();
    by.sort_by_key(|(_, span)| std::cmp::Reverse(span.last_us));
    if let Some(retired_us) = entry.retired_us {
        by.retain(|(_, span)| span.last_us > retired_us);
        let since = format!("retired {}", day(retired_us));
        let still = by.iter().map(|(id, span)| format!("{id} on {}", day(span.last_us)));
        let still = still.collect::<Vec<_>>().join(", ");
        return if still.is_empty() { since } else { format!("{since}, STILL TRIED by {still}") };
    }
    let all = by.iter().map(|(id, span)| format!("{id} on {}", day(span.last_us)));
    match all.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "not used yet".to_owned(),
        all => format!("last used by {all}"),
    }
}

fn list(content: &Content) -> String {
    let mut entries: Vec<&Entry> = content.list.all().iter().collect();
    entries.sort_by(|a, b| (&a.place, a.number).cmp(&(&b.place, b.number)));
    if entries.is_empty() {
        return "there are none; make one with: stillwatch-relay passwords add CAMERA (or --all)\n"
            .to_owned();
    }
    let mut text = String::new();
    if let Some(problem) = &content.used_problem {
        let _ = writeln!(text, "it is not known when they were used: {problem}");
    }
    for entry in entries {
        let Entry { place, number, created_us, .. } = entry;
        let uses = uses(entry, content);
        // Writing into a text does not fail.
        let _ = writeln!(text, "{place}: password {number}, made {}, {uses}", day(*created_us));
    }
    text
}

fn list_json(content: &Content) -> String {
    let time = |us: i64| format_time(us, 0);
    let entry = |entry: &Entry| {
        let used: std::collections::BTreeMap<String, String> = content
            .used
            .cameras(&entry.name())
            .map(|(id, span)| (id.to_string(), time(span.last_us)))
            .collect();
        serde_json::json!({
            "camera": entry.place.camera().map(CameraId::as_str),
            "number": entry.number,
            "created_at": time(entry.created_us),
            "valid": entry.is_valid(),
            "retired_at": entry.retired_us.map(time),
            "last_used": used,
        })
    };
    let passwords: Vec<_> = content.list.all().iter().map(entry).collect();
    let json = serde_json::json!({ "passwords": passwords });
    // Our own structure always serialises.
    serde_json::to_string_pretty(&json).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_link_lasts() {
        let hours = |n: u64| Ok(Duration::from_secs(n * 3_600));
        for (text, expected) in [
            ("7d", hours(168)),
            ("12h", hours(12)),
            ("4w", hours(672)),
            ("90m", Ok(Duration::from_secs(5_400))),
        ] {
            assert_eq!(link_time(text), expected, "{text}");
        }
        for wrong in ["", "d", "-1d", "1.5d", "0h", "never", "99999999d", "11000w", "5"] {
            assert!(link_time(wrong).is_err(), "{wrong}");
        }
    }
}
