//! Stories as data, and their tests: the stories stand beside this folder, the tests in `tests/`.
