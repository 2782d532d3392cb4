//! Sections that belong to no component of their own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// How much of the chain a node keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Headers, state, and the bodies of recent blocks.
    #[default]
    Full,
    /// Every block since genesis.
    Archive,
}

impl Role {
    /// As in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Archive => "archive",
        }
    }
}

/// A thing with an address or a path that can be turned off with `"off"`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Toggle<T> {
    /// On, there.
    On(T),
    /// Off.
    Off,
}

impl Toggle<SocketAddr> {
    /// The address, if it is on.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::On(address) => Some(*address),
            Self::Off => None,
        }
    }
}

impl<'de> Deserialize<'de> for Toggle<SocketAddr> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text == "off" {
            return Ok(Self::Off);
        }
        let wrong =
            || D::Error::custom(format!("{text:?} is neither \"off\" nor an address such as \"127.0.0.1:8353\""));
        text.parse().map(Self::On).map_err(|_| wrong())
    }
}

impl Serialize for Toggle<SocketAddr> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::On(address) => s.collect_str(address),
            Self::Off => s.serialize_str("off"),
        }
    }
}

/// The `[api]` section.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Unix socket; `api.sock` in the data directory if absent.
    pub socket: Option<PathBuf>,
    /// Loopback address for HTTP, or `"off"`.
    pub listen: Toggle<SocketAddr>,
    /// Where the token for writes and operations over TCP is kept; `api.token` in the data directory if absent.
    pub token_file: Option<PathBuf>,
}

/// Where pages and API are by default.
pub const API_PORT: u16 = 8353;
/// Where metrics are by default.
pub const METRICS_PORT: u16 = 9354;
/// Longest path of a unix socket that every system takes, in bytes.
const MAX_SOCKET_PATH: usize = 100;

impl Default for ApiConfig {
    fn default() -> Self {
        Self { socket: None, listen: loopback(API_PORT), token_file: None }
    }
}

fn loopback(port: u16) -> Toggle<SocketAddr> {
    Toggle::On(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

impl ApiConfig {
    /// Fills in what depends on the data directory.
    pub(super) fn settle(&mut self, data_dir: &Path) {
        self.socket.get_or_insert_with(|| data_dir.join("api.sock"));
        self.token_file.get_or_insert_with(|| data_dir.join("api.token"));
    }

    /// The unix socket.
    pub fn socket_path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| PathBuf::from("api.sock"))
    }

    /// The file with the token.
    pub fn token_path(&self) -> PathBuf {
        self.token_file.clone().unwrap_or_else(|| PathBuf::from("api.token"))
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(address) = self.listen.address().filter(|address| !address.ip().is_loopback()) {
            return Err(format!(
                "api.listen is {address}, but the interface is for this machine only: use a loopback address, and a \
                 reverse proxy or an SSH tunnel for others"
            ));
        }
        let socket = self.socket_path();
        let bytes = socket.as_os_str().len();
        if bytes > MAX_SOCKET_PATH {
            return Err(format!(
                "api.socket: {} has {bytes} bytes, but a unix socket's path has at most {MAX_SOCKET_PATH}: set it to \
                 a shorter one",
                socket.display()
            ));
        }
        Ok(())
    }
}

/// The `[metrics]` section.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Address for Prometheus, or `"off"`.
    pub listen: Toggle<SocketAddr>,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { listen: loopback(METRICS_PORT) }
    }
}
