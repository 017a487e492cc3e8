//! Lines about cameras that are being updated, from what they report: each step once.

use frame::CameraId;
use frame::report::{Report, Update};

/// Says what is new in a report.
pub(super) fn say(camera: &CameraId, before: Option<&Report>, now: &Report) {
    for line in lines(before, now) {
        tracing::info!(%camera, "camera {camera}: {line}");
    }
}

fn lines(before: Option<&Report>, now: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    let was = before.and_then(|report| report.update.as_ref());
    let step = |update: &Update| (update.version.clone(), update.doing.clone());
    if let Some(is) = &now.update
        && was.map(step) != Some(step(is))
    {
        let Update { version, doing, why, .. } = is;
        let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        // Only from these words a report is read: `frame::report::DOING`.
        lines.push(match doing.as_str() {
            "downloading" => format!("begins to download update {version}{why}"),
            "waiting" => format!("has update {version}, which waits{why}"),
            "installing" => format!("installs update {version}{why}"),
            "restarting" => format!("restarts into update {version}{why}"),
            _ => format!("tries update {version}{why}"),
        });
    }
    // Another system without an update before it is somebody with another card.
    if let (Some(system), Some(before)) = (&now.system, before.and_then(|b| b.system.as_ref()))
        && system != before
    {
        lines.push(format!("runs system {system} now, before it was {before}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(system: &str, doing: &str, percent: u8) -> Report {
        let update = Update {
            version: "2".to_owned(),
            doing: doing.to_owned(),
            percent: Some(percent),
            why: None,
        };
        let update = Some(update).filter(|_| !doing.is_empty());
        Report { system: Some(system.to_owned()), update, ..Report::default() }
    }

    #[test]
    fn each_step_is_said_once() {
        let reports = [
            report("1", "", 0),
            report("1", "downloading", 0),
            report("1", "downloading", 50),
            report("1", "waiting", 0),
            report("1", "installing", 0),
            report("1", "restarting", 0),
            report("2", "trial", 0),
            report("2", "", 0),
        ];
        let mut said = lines(None, &reports[0]);
        said.extend(reports.windows(2).flat_map(|pair| lines(Some(&pair[0]), &pair[1])));
        assert_eq!(
            said,
            [
                "begins to download update 2",
                "has update 2, which waits",
                "installs update 2",
                "restarts into update 2",
                "tries update 2",
                "runs system 2 now, before it was 1",
            ]
        );
    }
}
