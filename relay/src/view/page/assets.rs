//! What the relay's pages are made of beside HTML.

use web::asset::{Asset, CSS, JAVASCRIPT, STYLE};

/// All of them.
#[derive(Debug)]
pub(crate) struct Assets {
    pub viewer: Asset,
    pub owner: Asset,
    pub howto: Asset,
    pub style: Asset,
    pub icon: Asset,
    pub touch_icon: Asset,
    pub icon_192: Asset,
    pub icon_512: Asset,
    /// What other sites' pages load, so it has a plain name.
    pub embed: Asset,
}

/// Joins script files, seen from the relay's folder, to one; they share a scope that nothing else sees.
macro_rules! script {
    ($($file:literal),+) => {
        concat!("(() => {\n\"use strict\";\n",
            $(include_str!(concat!("../../../", $file)), "\n",)+ "})();\n")
    };
}

const PNG: &str = "image/png";

impl Assets {
    pub(crate) fn new() -> Assets {
        let text = |path, kind, text: &'static str| Asset::new(path, kind, text.as_bytes(), true);
        let icon = |path, png: &'static [u8]| Asset::new(path, PNG, png, false);
        Assets {
            viewer: text(
                "assets/viewer.js",
                JAVASCRIPT,
                script!(
                    "assets/js/texts.js",
                    "assets/js/address.js",
                    "assets/js/clock.js",
                    "../crates/web/assets/badge.js",
                    "assets/js/ladder.js",
                    "assets/js/mirrors.js",
                    "assets/js/multipart.js",
                    "assets/js/paint.js",
                    "assets/js/transports.js",
                    "assets/js/camera.js",
                    "assets/js/past.js",
                    "assets/js/viewer.js"
                ),
            ),
            owner: text(
                "assets/owner.js",
                JAVASCRIPT,
                script!("assets/js/texts.js", "assets/js/address.js", "assets/js/owner.js"),
            ),
            howto: text(
                "assets/howto.js",
                JAVASCRIPT,
                script!("assets/js/texts.js", "assets/js/howto.js"),
            ),
            embed: text("embed.js", JAVASCRIPT, script!("assets/js/embed.js")),
            style: text("assets/style.css", CSS, STYLE),
            icon: text(
                "assets/icon.svg",
                "image/svg+xml",
                include_str!("../../../assets/icon.svg"),
            ),
            touch_icon: icon("assets/icon-180.png", include_bytes!("../../../assets/icon-180.png")),
            icon_192: icon("assets/icon-192.png", include_bytes!("../../../assets/icon-192.png")),
            icon_512: icon("assets/icon-512.png", include_bytes!("../../../assets/icon-512.png")),
        }
    }

    /// The file at `path`, without the slash before it.
    pub(crate) fn find(&self, path: &str) -> Option<&Asset> {
        let Assets { viewer, owner, howto, style, icon, touch_icon, icon_192, icon_512, embed } =
            self;
        let all = [viewer, owner, howto, style, icon, touch_icon, icon_192, icon_512, embed];
        all.into_iter().find(|asset| asset.path == path)
    }
}
