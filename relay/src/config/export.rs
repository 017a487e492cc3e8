//! `export.*`: where pictures go beside the viewers.

use std::path::PathBuf;
use std::time::Duration;

use runtime::secret::Secret;
use runtime::settings::{self, ConfigError};
use serde::Deserialize;

use super::{absolute, list, read_password, wrong};
use crate::export::bucket::BucketConfig;
use crate::export::files::FilesConfig;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawExport {
    pub dir: Option<PathBuf>,
    pub sizes: String,
    #[serde(deserialize_with = "settings::duration")]
    pub interval: Duration,
    pub durable: bool,
    pub s3_bucket: Option<String>,
    pub s3_endpoint: Option<String>,
    pub s3_region: String,
    pub s3_access_key: Option<String>,
    pub s3_secret_file: Option<PathBuf>,
    #[serde(deserialize_with = "settings::duration")]
    pub s3_interval: Duration,
}

impl Default for RawExport {
    fn default() -> Self {
        RawExport {
            dir: None,
            sizes: String::new(),
            interval: Duration::from_millis(200),
            durable: false,
            s3_bucket: None,
            s3_endpoint: None,
            s3_region: "us-east-1".to_owned(),
            s3_access_key: None,
            s3_secret_file: None,
            s3_interval: Duration::from_secs(5),
        }
    }
}

/// What is exported to where; each `None` if nothing is.
#[derive(Debug, Clone)]
pub(crate) struct Exports {
    pub files: Option<FilesConfig>,
    pub bucket: Option<BucketConfig>,
}

impl RawExport {
    /// With the secret: that of the file, or else systemd's.
    pub(super) fn checked(
        &self,
        credential: Option<Secret>,
        place: &impl Fn(&str) -> String,
    ) -> Result<Exports, ConfigError> {
        let sizes = list("export.sizes", &self.sizes, "800x600 320x240", place)?;
        let (interval, durable) = (self.interval, self.durable);
        let files = self.dir.clone().map(|dir| FilesConfig {
            dir: absolute(dir),
            sizes: sizes.clone(),
            interval,
            durable,
        });
        let wrong = |key: &str, what: &str| wrong(place, key, what);
        let Some(bucket) = self.s3_bucket.clone() else {
            return Ok(Exports { files, bucket: None });
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if bucket.is_empty() || !bucket.chars().all(plain) {
            return Err(wrong(
                "export.s3_bucket",
                "this is no bucket's name; write such as my-cameras",
            ));
        }
        let endpoint = self.s3_endpoint.as_deref().map(|text| {
            let url = text.parse::<http::Uri>().ok();
            let is_one = |url: &http::Uri| {
                matches!(url.scheme_str(), Some("http" | "https"))
                    && url.authority().is_some_and(|of| !of.as_str().contains('@'))
                    && url.query().is_none()
            };
            url.filter(is_one).map(|_| text.trim_end_matches('/').to_owned()).ok_or_else(|| {
                wrong(
                    "export.s3_endpoint",
                    "this is no address; write such as https://s3.example.org",
                )
            })
        });
        let access_key = self.s3_access_key.clone().filter(|key| !key.is_empty());
        let access_key = access_key.ok_or_else(|| {
            wrong(
                "export.s3_access_key",
                "a bucket wants one; it is what the storage calls the access key's id",
            )
        })?;
        let secret = self.s3_secret_file.as_deref().map(read_password).transpose()?.or(credential);
        let secret = secret.ok_or_else(|| {
            wrong(
                "export.s3_secret_file",
                "a bucket wants a secret: name a file with it, or give the unit the systemd credential \"s3-secret\"",
            )
        })?;
        let bucket = BucketConfig {
            bucket,
            endpoint: endpoint.transpose()?,
            region: self.s3_region.clone(),
            access_key,
            secret,
            sizes,
            interval: self.s3_interval,
        };
        Ok(Exports { files, bucket: Some(bucket) })
    }
}
