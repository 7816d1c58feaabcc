//! Whom a client talks to, and how patient it is.

use std::time::Duration;

use crate::error::Error;

/// The port of a bootstrap address that names none.
pub const DEFAULT_PORT: u16 = 9092;

/// How a client reaches brokers. Names and defaults are those of Kafka's clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// `host:port` of brokers to begin with; the rest is learnt from them.
    pub bootstrap: Vec<String>,
    /// What brokers log and count this client as.
    pub client_id: String,
    /// For a connection to be there, ApiVersions included.
    pub connect_timeout: Duration,
    /// From the send of a request to its answer; a connection that misses it is closed.
    pub request_timeout: Duration,
    /// For an operation with all its retries.
    pub api_timeout: Duration,
    /// The first wait before a retry, which doubles up to `retry_backoff_max`.
    pub retry_backoff: Duration,
    pub retry_backoff_max: Duration,
    /// After which metadata is asked for again though nothing failed.
    pub metadata_max_age: Duration,
    /// Bytes of the largest answer that is read.
    pub answer_bytes_max: usize,
    /// Requests of one connection that may be unanswered.
    pub in_flight_max: usize,
}

impl Default for ClientConfig {
    fn default() -> ClientConfig {
        ClientConfig {
            bootstrap: vec!["127.0.0.1:9092".to_owned()],
            client_id: "rivven".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            api_timeout: Duration::from_secs(60),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(300),
            answer_bytes_max: 128 << 20,
            in_flight_max: 64,
        }
    }
}

impl ClientConfig {
    /// The defaults with these brokers: `host`, `host:port` or `[v6]:port`, separated by commas.
    #[must_use]
    pub fn to(brokers: &str) -> ClientConfig {
        let bootstrap = brokers.split(',').map(str::trim).filter(|broker| !broker.is_empty());
        let bootstrap = bootstrap.map(str::to_owned).collect();
        ClientConfig { bootstrap, ..ClientConfig::default() }
    }

    /// # Errors
    /// [`Error::Invalid`] says what cannot be.
    pub(crate) fn check(&self) -> Result<Vec<Address>, Error> {
        let invalid = |text: &str| Err(Error::Invalid(text.to_owned()));
        if self.bootstrap.is_empty() {
            return invalid("no broker is named; give at least one host:port");
        }
        if self.client_id.len() > 1000 {
            return invalid("the client id is longer than 1000 bytes");
        }
        if self.retry_backoff.is_zero() || self.retry_backoff > self.retry_backoff_max {
            return invalid("retry_backoff must be above 0 and at most retry_backoff_max");
        }
        if self.in_flight_max == 0 {
            return invalid("in_flight_max must be at least 1");
        }
        self.bootstrap.iter().map(|text| Address::parse(text)).collect()
    }
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl Address {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the text and what it should look like.
    pub fn parse(text: &str) -> Result<Address, Error> {
        let wrong = |why: &str| {
            Error::Invalid(format!("{text:?} is no address of a broker: {why}; write host:port"))
        };
        if text.contains("://") {
            return Err(wrong("it is a URL"));
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(|| wrong("no ] follows ["))?;
                (host, rest.strip_prefix(':'))
            }
            None if text.matches(':').count() > 1 => (text, None),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| wrong("the port is no number up to 65535"))?,
            None => DEFAULT_PORT,
        };
        if host.is_empty() || host.contains(char::is_whitespace) || port == 0 {
            return Err(wrong("the host or the port is missing"));
        }
        Ok(Address { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, expected) in [
            ("localhost", "localhost:9092"),
            ("broker-1.example:19092", "broker-1.example:19092"),
            ("[::1]:9093", "[::1]:9093"),
            ("::1", "[::1]:9092"),
            ("[::1]", "[::1]:9092"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_named() {
        for text in ["", ":9092", "a:b", "a:70000", "a:0", "http://a:9092", "[::1:9092", "a b:1"] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("host:port"), "{error}");
        }
        let nobody = ClientConfig::to(" , ").check().unwrap_err();
        assert!(nobody.to_string().contains("no broker is named"));
    }
}
