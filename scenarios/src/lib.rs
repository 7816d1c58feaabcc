//! Stories as data, and their tests.
