"""The people, groups and channels of the account; phone numbers are from ranges reserved for fiction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Who:
    """A person of the account. `name` is the saved one, `push` the one they chose; `phone` None hides the number."""

    key: str
    phone: str | None
    name: str | None
    push: str | None
    about: str = "Hey there! I am using WhatsApp."
    picture: bool = True
    lid: bool = True
    answers: bool = False


ME = Who("me", "12025550100", "Alex Rivers", "Alex Rivers", about="At work until five")

PEOPLE = (
    Who("maya", "447700900142", "Maya Lindqvist", "Maya", about="Architect. Slow to answer, quick to draw."),
    Who("sam", "12025550123", "Sam Okafor", "Sam O.", about="Always on", answers=True),
    Who("anna1", "491713920011", "Anna Schmidt", "Anna S."),
    Who("anna2", "493023125042", "Anna Schmidt", "anna.schmidt"),
    Who("jonas", "491713920028", "Jonas Becker", "Jonas 🚴"),
    Who("lior", "12025550135", "ליאור כהן", "ליאור"),
    Who("amina", "33639980017", "أمينة بن علي", "Amina"),
    Who("zoe", "33639980023", "Zoë 🌻 Martin", "zoë"),
    Who("dad", "12025550101", "Dad 👨‍🔧", "Robert Rivers", picture=False),
    Who("mum", "12025550102", "Mum ❤️", "Helen R."),
    Who("priya", "447700900177", "Priya Nair", "Priya"),
    Who("diego", "12025550148", "Diego Álvarez", "Diego"),
    Who("yuki", "61491570156", "Yuki Tanaka 田中", "雪"),
    Who("clinic", "12025550160", "Harbor Dental Clinic", "Harbor Dental", about="Mon-Fri 8:00-17:00"),
    Who("landlord", "447700900118", "Mr Whitcombe (landlord)", "G. Whitcombe", picture=False),
    Who("nina", "491713920035", "Nina Vogel", "Nina V."),
    Who("olu", "447700900163", "Olu Adeyemi", "Olu"),
    Who("grace", "61491570157", "Grace O'Connor", "Grace"),
    Who("ivan", "12025550171", "Ivan Petrov", "Иван"),
    Who("leila", "33639980041", "Leila Haddad", "Leila H."),
    Who("courier", "12025550182", None, "Swift Parcels"),
    Who("plumber", "447700900129", None, "Dave the plumber", picture=False),
    Who("nameless", "12025550194", None, None, picture=False, lid=False),
    Who("nameless2", "61491570158", None, None, picture=False, lid=False),
    Who("stranger", None, None, "Support Team", about="", picture=False),
)


@dataclass(frozen=True, slots=True)
class Circle:
    """A group: `members` besides the account's owner, by key; `role` is the owner's."""

    key: str
    subject: str
    description: str
    members: tuple[str, ...]
    admins: tuple[str, ...]
    role: str
    lids: bool
    announce: bool = False


GROUPS = (
    Circle(
        "hike",
        "Sunday Hikers 🥾",
        "Routes, lifts and weather. We leave at 8:30 sharp.",
        ("maya", "jonas", "zoe", "diego", "nina", "sam"),
        ("jonas",),
        "superadmin",
        lids=True,
    ),
    Circle("family", "Family ❤️", "", ("mum", "dad", "grace"), ("mum",), "participant", lids=False),
    Circle(
        "kestrel",
        "Project Kestrel",
        "Launch room. Decisions get a ✅.",
        ("priya", "olu", "ivan", "leila", "anna1"),
        ("priya", "olu"),
        "admin",
        lids=False,
    ),
    Circle("book", "Thursday Book Club", "One book a month", ("anna2", "lior", "yuki", "amina"), ("yuki",),
           "participant", lids=True),
    Circle(
        "house",
        "14 Elm Street – notices",
        "Notices of the house. Only admins write.",
        ("landlord", "plumber", "clinic", "courier"),
        ("landlord",),
        "participant",
        lids=False,
        announce=True,
    ),
)  # fmt: skip

#: key, name, description, role, subscribers, verified, country, category
CHANNELS = (
    ("library", "City Library News", "Opening hours, readings, new books", "SUBSCRIBER", 18_400, True, "US",
     "ORGANIZATIONS"),
    ("trail", "Alex's Trail Notes", "Short notes from long walks", "OWNER", 37, False, "US", "LIFESTYLE"),
    ("weather", "Coast Weather Watch", "Storm warnings for the coast", "GUEST", 220_310, True, "US", "NEWS_INFO"),
    ("football", "Harbor FC", "Results and tickets", "GUEST", 91_024, True, "GB", "SPORTS"),
    ("kitchen", "Ten Minute Kitchen", "One recipe a day", "GUEST", 40_552, False, "DE", "LIFESTYLE"),
    ("startups", "Founders Daily", "Business news in five lines", "GUEST", 12_090, False, "US", "BUSINESS"),
)  # fmt: skip

LABELS = (("1", "New client", 1), ("2", "Waiting for payment", 2), ("3", "Friends", 5))
