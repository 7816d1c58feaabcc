//! The language that messages are written in: one block per API, one line per field.
//!
//! ```text
//! messages! {
//!     api Produce: ProduceRequest => ProduceResponse, versions 3-13, flexible 9;
//!
//!     /// What the struct is for.
//!     pub struct ProduceRequest {
//!         [3+] transactional_id: Option<WireStr>,      // in every version from 3
//!         [0-12] name: WireStr,                        // in versions 0 to 12 only
//!         [0+, null 10+] name: Option<WireStr>,        // may be null from version 10
//!         [7+] leader_epoch: i32 = -1,                 // default when absent
//!         [10+, tag 0] current_leader: LeaderIdAndEpoch, // tagged, sent unless it is the default
//!     }
//! }
//! ```
//!
//! Fields stand in the order of the wire (tagged ones anywhere). An `Option` may be null in every
//! version that has it unless `null` says otherwise; where null is not allowed it is refused when
//! read, and written as the empty value.

/// Declares the messages of one API; see the module's text for the grammar.
macro_rules! messages {
    (
        api $api:ident: $request:ident => $response:ident,
            versions $min:literal - $max:literal, flexible $flexible:literal;
        $(
            $(#[$meta:meta])*
            pub struct $name:ident { $($fields:tt)* }
        )+
    ) => {
        $( wire_struct! { $(#[$meta])* $name { $($fields)* } } )+

        impl $crate::kafka::codec::message::Message for $request {
            const API: $crate::kafka::codec::api::ApiKey =
                $crate::kafka::codec::api::ApiKey::$api;
            const VERSION_MIN: i16 = $min;
            const VERSION_MAX: i16 = $max;
            const FLEXIBLE_FROM: i16 = $flexible;
        }

        impl $crate::kafka::codec::message::Message for $response {
            const API: $crate::kafka::codec::api::ApiKey =
                $crate::kafka::codec::api::ApiKey::$api;
            const VERSION_MIN: i16 = $min;
            const VERSION_MAX: i16 = $max;
            const FLEXIBLE_FROM: i16 = $flexible;
        }

        impl $crate::kafka::codec::message::Request for $request {
            type Response = $response;
        }
    };
}

/// One struct of the wire: its definition, defaults, both directions, and samples for tests.
macro_rules! wire_struct {
    (
        $(#[$meta:meta])*
        $name:ident {
            $(
                $(#[$field_meta:meta])*
                [
                    $lo:literal $(- $hi:literal)? $(+)?
                    $(, null $null:literal +)?
                    $(, tag $tag:literal)?
                ] $field:ident: $ty:ty $(= $default:expr)?
            ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $ty, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: wire_field!(@default $ty $(, $default)?), )* }
            }
        }

        impl $crate::kafka::codec::wire::Tagged for $name {
            fn read_tagged(
                &mut self,
                tag: u32,
                reader: &mut $crate::kafka::codec::reader::Reader,
                shape: $crate::kafka::codec::wire::Shape,
            ) -> Result<bool, $crate::kafka::codec::reader::DecodeError> {
                let _ = (tag, &reader, shape);
                $( wire_field!(
                    @read_tagged [$($tag)?] [$lo $($hi)?] self.$field, tag, reader, shape
                ); )*
                Ok(false)
            }
        }

        impl $crate::kafka::codec::wire::Wire for $name {
            fn wire_bytes_min(shape: $crate::kafka::codec::wire::Shape) -> usize {
                let mut bytes = usize::from(shape.flexible);
                $( wire_field!(@min [$($tag)?] [$lo $($hi)?] $ty, bytes, shape); )*
                bytes
            }

            fn read(
                reader: &mut $crate::kafka::codec::reader::Reader,
                shape: $crate::kafka::codec::wire::Shape,
            ) -> Result<Self, $crate::kafka::codec::reader::DecodeError> {
                let mut value = Self::default();
                $( wire_field!(
                    @read [$($tag)?] [$($null)?] [$lo $($hi)?] value.$field, reader, shape
                ); )*
                if shape.flexible {
                    $crate::kafka::codec::wire::read_tags(&mut value, reader, shape)?;
                }
                Ok(value)
            }

            fn write<S: $crate::kafka::codec::sink::Sink>(
                &self,
                sink: &mut S,
                shape: $crate::kafka::codec::wire::Shape,
            ) {
                $( wire_field!(
                    @write [$($tag)?] [$($null)?] [$lo $($hi)?] self.$field, sink, shape
                ); )*
                if shape.flexible {
                    let mut tags = 0u32;
                    $( wire_field!(
                        @count [$($tag)?] [$lo $($hi)?] [$ty $(, $default)?]
                        self.$field, tags, shape
                    ); )*
                    let _ = &mut tags;
                    $crate::kafka::codec::wire::write_uvarint(sink, tags);
                    $( wire_field!(
                        @write_tagged [$($tag)?] [$lo $($hi)?] [$ty $(, $default)?]
                        self.$field, sink, shape
                    ); )*
                }
            }
        }

        #[cfg(test)]
        impl $crate::kafka::codec::sample::Sample for $name {
            fn sample(
                entropy: &mut $crate::kafka::codec::sample::Entropy,
                version: i16,
            ) -> Self {
                let mut value = Self::default();
                let _ = (&mut value, &entropy);
                $( if wire_field!(@has [$lo $($hi)?] version) {
                    value.$field = $crate::kafka::codec::sample::Sample::sample(entropy, version);
                    wire_field!(@fill [$($null)?] value.$field, version);
                } )*
                value
            }
        }
    };
}

/// One field in one role; the first bracket tells tagged fields from the others.
macro_rules! wire_field {
    (@default $ty:ty) => { <$ty>::default() };
    (@default $ty:ty, $default:expr) => { $default };

    (@has [$lo:literal] $version:expr) => { $version >= $lo };
    (@has [$lo:literal $hi:literal] $version:expr) => { ($lo..=$hi).contains(&$version) };

    (@min [] $versions:tt $ty:ty, $bytes:ident, $shape:ident) => {
        if wire_field!(@has $versions $shape.version) {
            $bytes += <$ty as $crate::kafka::codec::wire::Wire>::wire_bytes_min($shape);
        }
    };
    (@min [$tag:literal] $($rest:tt)*) => {};

    (@read [] [] $versions:tt $value:ident.$field:ident, $reader:ident, $shape:ident) => {
        if wire_field!(@has $versions $shape.version) {
            $value.$field = $crate::kafka::codec::wire::Wire::read($reader, $shape)?;
        }
    };
    (
        @read [] [$null:literal] $versions:tt
        $value:ident.$field:ident, $reader:ident, $shape:ident
    ) => {
        if wire_field!(@has $versions $shape.version) {
            $value.$field = if $shape.version >= $null {
                $crate::kafka::codec::wire::Wire::read($reader, $shape)?
            } else {
                $crate::kafka::codec::wire::read_required($reader, $shape)?
            };
        }
    };
    (@read [$tag:literal] $($rest:tt)*) => {};

    (
        @read_tagged [$tag:literal] $versions:tt
        $value:ident.$field:ident, $found:ident, $reader:ident, $shape:ident
    ) => {
        if $found == $tag && wire_field!(@has $versions $shape.version) {
            $value.$field = $crate::kafka::codec::wire::Wire::read($reader, $shape)?;
            return Ok(true);
        }
    };
    (@read_tagged [] $($rest:tt)*) => {};

    (@write [] [] $versions:tt $value:ident.$field:ident, $sink:ident, $shape:ident) => {
        if wire_field!(@has $versions $shape.version) {
            $crate::kafka::codec::wire::Wire::write(&$value.$field, $sink, $shape);
        }
    };
    (
        @write [] [$null:literal] $versions:tt
        $value:ident.$field:ident, $sink:ident, $shape:ident
    ) => {
        if wire_field!(@has $versions $shape.version) {
            if $shape.version >= $null {
                $crate::kafka::codec::wire::Wire::write(&$value.$field, $sink, $shape);
            } else {
                $crate::kafka::codec::wire::write_required(&$value.$field, $sink, $shape);
            }
        }
    };
    (@write [$tag:literal] $($rest:tt)*) => {};

    (
        @count [$tag:literal] $versions:tt [$($default:tt)*]
        $value:ident.$field:ident, $tags:ident, $shape:ident
    ) => {
        if wire_field!(@has $versions $shape.version)
            && $value.$field != wire_field!(@default $($default)*)
        {
            $tags += 1;
        }
    };
    (@count [] $($rest:tt)*) => {};

    (
        @write_tagged [$tag:literal] $versions:tt [$($default:tt)*]
        $value:ident.$field:ident, $sink:ident, $shape:ident
    ) => {
        if wire_field!(@has $versions $shape.version)
            && $value.$field != wire_field!(@default $($default)*)
        {
            $crate::kafka::codec::wire::write_tagged(&$value.$field, $tag, $sink, $shape);
        }
    };
    (@write_tagged [] $($rest:tt)*) => {};

    (@fill [] $($rest:tt)*) => {};
    (@fill [$null:literal] $value:ident.$field:ident, $version:ident) => {
        if $version < $null {
            $value.$field.get_or_insert_default();
        }
    };
}

pub(crate) use messages;
pub(crate) use wire_field;
pub(crate) use wire_struct;
