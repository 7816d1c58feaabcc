//! The connector runtime; holds no code before the first connector does.
