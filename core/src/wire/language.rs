//! The notation of messages: each enum shows the number of every message beside its name.

/// Structs whose fields follow each other on the wire.
macro_rules! wire_structs {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident { $( $(#[$field_meta:meta])* $field:ident: $type:ty, )* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name { $( $(#[$field_meta])* pub $field: $type, )* }

        impl $crate::wire::codec::Wire for $name {
            fn read(
                reader: &mut $crate::wire::codec::Reader,
            ) -> Result<$name, $crate::wire::codec::WireError> {
                Ok($name { $( $field: $crate::wire::codec::Wire::read(reader)?, )* })
            }

            fn write(&self, out: &mut Vec<u8>) {
                $( self.$field.write(out); )*
            }
        }
    )*};
}

/// An enum whose variant's number comes first. A number that was given once is never given again.
macro_rules! wire_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $(#[$variant_meta:meta])*
               $index:literal $variant:ident
               $({ $( $(#[$field_meta:meta])* $field:ident: $type:ty ),* $(,)? })?, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant $({ $( $(#[$field_meta])* $field: $type ),* })?, )*
        }

        impl $name {
            /// The name of each message; its place is its number.
            pub const NAMES: &[&str] = &[$( stringify!($variant), )*];

            /// The number on the wire.
            #[must_use]
            pub fn index(&self) -> usize {
                match self {
                    $( $name::$variant { .. } => $index, )*
                }
            }
        }

        impl $crate::wire::codec::Wire for $name {
            fn read(
                reader: &mut $crate::wire::codec::Reader,
            ) -> Result<$name, $crate::wire::codec::WireError> {
                match u32::read(reader)? {
                    $( $index => Ok($name::$variant $({
                        $( $field: $crate::wire::codec::Wire::read(reader)?, )*
                    })?), )*
                    index => Err($crate::wire::codec::WireError::Unknown { index }),
                }
            }

            fn write(&self, out: &mut Vec<u8>) {
                match self {
                    $( $name::$variant $({ $($field),* })? => {
                        let index: u32 = $index;
                        index.write(out);
                        $( $( $field.write(out); )* )?
                    } )*
                }
            }
        }
    };
}

pub(super) use {wire_enum, wire_structs};
