"""A directory as a value: who and what is in it before and after each change, whichever way it is told to Doorlist."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

EMPLOYEE, INTERN = "Employee", "Intern"
DEPARTMENTS: Final = ("Research", "Sales & Marketing", "Kundendienst Süd", "Legal")
TITLES: Final = ("", "Lead", "Specialist", "Directrice à l'essai")


@dataclass(frozen=True, kw_only=True)
class Human:
    """`who` is the same for life. `entry` is what the directory calls them, and is another one once they were deleted and are there again."""

    who: str
    entry: str
    user_name: str
    given: str
    family: str
    display: str
    mail: str
    number: str = ""
    title: str = ""
    kind: str = EMPLOYEE
    department: str = ""
    manager: str = ""
    """Who, and not by what name."""
    on: bool = True
    gone: bool = False

    @property
    def works(self) -> bool:
        return self.on and not self.gone


@dataclass(frozen=True, kw_only=True)
class Circle:
    """A group. Whoever is in a group within it is in it too."""

    name: str
    people: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


def hired(who: str, given: str, family: str, **more: Any) -> Human:
    """Somebody whose names follow from one another; the number is theirs for life."""
    display = f"{given} {family}"
    return Human(
        who=who, entry=f"e-{who}", given=given, family=family,
        **{"user_name": who, "display": display, "mail": f"{who}@corp.example", "number": f"N-{who}", **more},
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class State:
    """What is in the directory, those who are gone among it. Each act gives another state and leaves this one as it is."""

    humans: Mapping[str, Human] = field(default_factory=dict)
    circles: Mapping[str, Circle] = field(default_factory=dict)

    @property
    def there(self) -> Mapping[str, Human]:
        """Whom the directory knows, by entry."""
        return {one.entry: one for one in self.humans.values() if not one.gone}

    def within(self, circle: str) -> frozenset[str]:
        """Everybody in a group, through groups within it too."""
        found, ahead, people = {circle}, [circle], set[str]()
        while ahead:
            one = self.circles[ahead.pop()]
            people |= one.people
            ahead += one.groups - found
            found |= one.groups
        return frozenset(people)

    def reports(self, who: str) -> list[Human]:
        return [one for one in self.humans.values() if one.manager == who != one.who and not one.gone]

    # People

    def hires(self, *people: Human) -> State:
        return replace(self, humans={**self.humans, **{one.who: one for one in people}})

    def changes(self, who: str, **changed: Any) -> State:
        return self.hires(replace(self.humans[who], **changed))

    def lets_go(self, who: str) -> State:
        """The entry is deleted: nobody reports to it any more, and it is in no group."""
        state = self.hires(*(replace(one, manager="") for one in self.reports(who)))
        return state.puts(who, out_of=[name for name, one in self.circles.items() if who in one.people]).changes(who, gone=True)

    def takes_on_again(self, who: str, **changed: Any) -> State:
        """By a new entry, which has the old number."""
        return self.changes(who, **{"entry": f"{self.humans[who].entry}-anew", "gone": False, "on": True, "manager": "", **changed})

    # Groups

    def forms(self, circle: str, name: str, *people: str, groups: Iterable[str] = ()) -> State:
        return self._with(circle, Circle(name=name, people=frozenset(people), groups=frozenset(groups)))

    def calls(self, circle: str, name: str) -> State:
        return self._with(circle, replace(self.circles[circle], name=name))

    def puts(self, who: str, *, into: Iterable[str] = (), out_of: Iterable[str] = ()) -> State:
        changed = {name: replace(one, people=one.people - {who}) for name, one in self.circles.items() if name in set(out_of)}
        changed |= {name: replace(one, people=one.people | {who}) for name, one in self.circles.items() if name in set(into)}
        return replace(self, circles={**self.circles, **changed})

    def nests(self, circle: str, *, into: str) -> State:
        outer = self.circles[into]
        return self._with(into, replace(outer, groups=outer.groups | {circle}))

    def takes_out(self, circle: str, *, of: str) -> State:
        outer = self.circles[of]
        return self._with(of, replace(outer, groups=outer.groups - {circle}))

    def dissolves(self, circle: str) -> State:
        return replace(self, circles={name: replace(one, groups=one.groups - {circle}) for name, one in self.circles.items() if name != circle})

    def _with(self, name: str, circle: Circle) -> State:
        return replace(self, circles={**self.circles, name: circle})


Change = Callable[[State], State]


def beginning() -> State:
    """Olga leads, Mia and Noor below her; Olga owns the channel of all and never leaves."""
    research, sales, service = ({"department": name} for name in DEPARTMENTS[:3])
    return (
        State()
        .hires(hired("olga", "Olga", "Ōsaka", title="Chief"))
        .hires(hired("mia", "Mia", "Moreau", manager="olga", **research), hired("noor", "Noor", "Haddad", manager="olga", **sales))
        .hires(
            hired("ada", "Ada", "Lovelace", manager="mia", title="Lead", **research),
            hired("bob", "Bob", "O'Neil", manager="mia", **research),
            hired("zoe", "Zoë", "Müller, 1st", user_name="zoë", manager="noor", **sales),
            hired("eve", "Eve", "Diallo", manager="noor", kind=INTERN, **sales),
            hired("jan", "Jan", "Łukasz", manager="noor", number="", **service),
        )
        .forms("choir", "Choir", "ada", "zoe", "eve")
        .forms("chess", "Chess & Go", "bob", "jan")
        .forms("clubs", "All clubs", "olga", groups=["choir", "chess"])
    )


def marked(state: State, mark: str) -> State:
    """The same directory under names that nobody else has on a server which several share."""
    humans = {
        who: replace(
            one, user_name=one.user_name + mark, mail=one.mail.replace("@", f"{mark}@"), department=one.department and one.department + mark
        )
        for who, one in state.humans.items()
    }  # fmt: skip
    return State(humans=humans, circles={key: replace(one, name=one.name + mark) for key, one in state.circles.items()})


def other_form(text: str) -> str:
    """The same letters to a reader, and other ones to a machine."""
    return unicodedata.normalize("NFD" if unicodedata.is_normalized("NFC", text) else "NFC", text)


CHANGES: Final[Mapping[str, Change]] = {
    "two joiners, one reporting to the other, and a new name": lambda s: s.hires(
        hired("kim", "Kim", "Nguyễn", manager="olga", department="Legal"), hired("lea", "Lea", "Weiß", manager="kim", department="Legal")
    )
    .puts("lea", into=["choir"])
    .changes("mia", user_name="mia.dubois", family="Dubois", display="Mia Dubois", mail="mia.dubois@corp.example"),
    "names in another case, and in another form of Unicode": lambda s: s.changes(
        "bob", user_name="BOB", mail="Bob@corp.example", display="BOB O'Neil"
    ).changes("zoe", user_name=other_form("zoë"), given=other_form("Zoë")),
    "another department, title and manager; none any more; and another group": lambda s: s.changes(
        "bob", department="Legal", title="Counsel", manager="kim"
    )
    .changes("ada", title="", department="")
    .puts("ada", into=["chess"], out_of=["choir"]),
    "a group and a department with other names": lambda s: s.calls("choir", "Grand Choir")
    .changes("noor", department="Growth")
    .changes("zoe", department="Growth")
    .changes("eve", department="Growth"),
    "a group out of another, groups in a circle, and managers in one": lambda s: s.takes_out("chess", of="clubs")
    .forms("quiz", "Quiz", "kim", "mia", groups=["clubs"])
    .nests("quiz", into="clubs")
    .changes("olga", manager="mia"),
    "no circles any more, and off while leading three": lambda s: s.changes("olga", manager="").takes_out("clubs", of="quiz").changes("noor", on=False),
    "deleted while leading two": lambda s: s.lets_go("mia"),
    "on again; and the name of who was deleted is somebody else's": lambda s: s.changes("noor", on=True).hires(
        hired("mia2", "Mia", "Castillo", user_name="mia.dubois", mail="mia.castillo@corp.example", manager="kim", department="Legal")
    ),
    "deleted and there again under the old number, and a name that another one had": lambda s: s.lets_go("eve")
    .takes_on_again("eve", kind=EMPLOYEE, department="Research", manager="ada")
    .changes("lea", user_name="lea.weiss")
    .changes("kim", user_name="lea"),
    "a group deleted, one that nobody is in, and somebody off while others move": lambda s: s.dissolves("chess")
    .forms("void", "Nobody's")
    .changes("jan", on=False)
    .changes("bob", user_name="robert", department="Research", manager="olga", number="N-bob-2")
    .puts("zoe", into=["quiz"], out_of=["choir"]),
}


@dataclass(kw_only=True)
class Chances:
    """A set of changes that nobody thought of, the same ones for the same seed. In one step nobody is changed twice."""

    seed: int
    state: State = field(default_factory=beginning)
    number: int = 0
    touched: set[str] = field(default_factory=set)
    free_names: list[str] = field(default_factory=list)
    never_lead: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def step(self, changes: int) -> State:
        self.touched = set()
        for _ in range(changes):
            kinds = (self._hire,) * 3 + (self._rename, self._spell, self._move, self._lead, self._swap_circles, self._swap_circles) + (
                self._switch, self._let_go, self._again, self._regroup, self._call, self._dissolve)  # fmt: skip
            # One kind of change may find nobody to happen to; another one does.
            while not self.chance.choice(kinds)():
                pass
        return self.state

    def _any(self, *, on: bool | None = True, gone: bool = False, but: Iterable[str] = ("olga",)) -> Human | None:
        """Whoever is off is left alone until they are on again: of them Okta tells nothing."""
        fitting = [
            one for who, one in self.state.humans.items()
            if who not in self.touched | set(but) and one.gone is gone and on in (None, one.on)
        ]  # fmt: skip
        return self.chance.choice(fitting) if fitting else None

    def _changes(self, one: Human | None, **changed: Any) -> bool:
        if one is None:
            return False
        self.touched.add(one.who)
        self.state = self.state.changes(one.who, **changed)
        return True

    def _manager(self) -> str:
        return self.chance.choice(["", *(who for who, one in self.state.humans.items() if not one.gone and who not in self.never_lead)])

    def _hire(self) -> bool:
        self.number += 1
        who, given, family = f"p{self.number}", self.chance.choice(("Björn", "Aiko", "Tomás")), self.chance.choice(("Şahin", "van der Berg", "Ueda"))
        more: dict[str, Any] = {}
        if self.free_names and self.chance.random() < 0.5:
            # Were they to lead, a channel of that name may be there already, and which of the two is numbered depends on who was first.
            more["user_name"] = self.free_names.pop(self.chance.randrange(len(self.free_names)))
            self.never_lead.add(who)
        if self.chance.random() < 0.2:
            more["number"] = ""
        department, title = self.chance.choice(("", *DEPARTMENTS)), self.chance.choice(TITLES)
        kind = self.chance.choice((EMPLOYEE, EMPLOYEE, INTERN))
        self.state = self.state.hires(hired(who, given, family, manager=self._manager(), department=department, title=title, kind=kind, **more))
        self.touched.add(who)
        return True

    def _rename(self) -> bool:
        self.number += 1
        one = self._any()
        return self._changes(one, user_name=f"née{self.number}", family=f"Née-{self.number}", display=f"{self.number}th Née", mail=f"nee{self.number}@corp.example")

    def _spell(self) -> bool:
        one = self._any(but=())
        return one is not None and self._changes(one, user_name=other_form(one.user_name).swapcase(), display=one.display.upper())

    def _move(self) -> bool:
        return self._changes(self._any(), department=self.chance.choice(("", *DEPARTMENTS)), title=self.chance.choice(TITLES))

    def _lead(self) -> bool:
        return self._changes(self._any(but=()), manager=self._manager())

    def _switch(self) -> bool:
        one = self._any(on=None)
        return one is not None and self._changes(one, on=not one.on)

    def _let_go(self) -> bool:
        one = self._any(on=None)
        if one is None or any(not report.on or report.who in self.touched for report in self.state.reports(one.who)):
            return False
        self.touched |= {one.who, *(report.who for report in self.state.reports(one.who))}
        self.state = self.state.lets_go(one.who)
        self.free_names.append(one.user_name)
        return True

    def _again(self) -> bool:
        one = self._any(on=None, gone=True)
        if one is None or not one.number:
            return False
        self.touched.add(one.who)
        self.number += 1
        self.state = self.state.takes_on_again(one.who, user_name=f"again{self.number}", manager=self._manager())
        return True

    def _circle(self, *, but: str = "") -> str:
        return self.chance.choice([name for name in self.state.circles if name != but])

    def _swap_circles(self) -> bool:
        one = self._any()
        if one is None:
            return False
        self.state = self.state.puts(one.who, out_of=[self._circle()]).puts(one.who, into=[self._circle()])
        return True

    def _regroup(self) -> bool:
        outer = self._circle()
        inner = self._circle(but=outer)
        if inner in self.state.circles[outer].groups:
            self.state = self.state.takes_out(inner, of=outer)
        else:
            self.state = self.state.nests(inner, into=outer)
        return True

    def _call(self) -> bool:
        self.number += 1
        if self.chance.random() < 0.5:
            people = [one.who for _ in range(3) if (one := self._any(but=())) is not None]
            self.state = self.state.forms(f"c{self.number}", f"Circle {self.number}", *people)
        else:
            self.state = self.state.calls(self._circle(), f"Round {self.number}")
        return True

    def _dissolve(self) -> bool:
        if len(self.state.circles) < 4:
            return False
        self.state = self.state.dissolves(self._circle())
        return True
