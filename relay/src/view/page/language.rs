//! Which language a page is in. Pure.

use super::texts::{LANGUAGES, Texts};

/// The language that `accept` (`Accept-Language`, RFC 9110, 12.5.4) likes best among ours; English
/// if it likes none.
pub(super) fn choose(accept: &str) -> &'static Texts {
    let [english, ..] = LANGUAGES;
    let mut best = (0.0, english);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let language = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q="));
        let quality = quality.map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0));
        let primary = language.split('-').next().unwrap_or_default();
        let known = LANGUAGES.iter().find(|texts| texts.tag.eq_ignore_ascii_case(primary));
        // The first of equals wins; NaN is never greater.
        if let Some(texts) = known
            && quality > best.0
        {
            best = (quality, *texts);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_best_liked_of_ours() {
        for (accept, tag) in [
            ("", "en"),
            ("de", "de"),
            ("de-CH, en;q=0.9", "de"),
            ("nl, fr;q=0.5, en;q=0.7", "en"),
            ("FR-ca;q=0.2", "fr"),
            ("ja,en-US;q=0.9,en;q=0.8", "ja"),
            ("es;q=nan, de;q=0.1", "de"),
            ("es;q=0, de;q=x", "en"),
            ("*", "en"),
            ("zh-Hant", "en"),
        ] {
            assert_eq!(choose(accept).tag, tag, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(accept in "([a-z]{2}|;q=|[0-9.,-]|nan|\\PC){0,20}") {
            let _ = choose(&accept);
        }
    }
}
