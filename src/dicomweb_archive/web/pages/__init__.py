"""Pages for people: server-rendered HTML, its templates, and the style sheet and script that go with it."""
