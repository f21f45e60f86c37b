"""A real Request Tracker 5, as a vendor would run it: set up from nothing, started, acted upon, stopped.

Needs the Debian packages `request-tracker5 rt5-db-sqlite rt5-standalone starlet`; nothing of the packages' own
database or config is used. To set one up takes a quarter of a minute: a `cache` keeps the prepared database, and
every RequestTracker begins with a copy of it.

    with RequestTracker(folder, cache=cache) as vendor:
        config = vendor.channel()              # the channel's config, as a dict
        …
        vendor.set_status(1, "open")
        assert len(vendor.tickets(key)) == 1
"""

import base64
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

SHARE = pathlib.Path("/usr/share/request-tracker5")
QUEUE, KEY, ROOM = "AV-Vendor", "BW.Key", "BW.Room"
#: Another queue with the same fields, of a name that is no ASCII.
CHINESE = "教室 维护"
#: All that the user `bellwether` may do, on the queue alone. The README tells the vendor's administrator the same.
RIGHTS = ("SeeQueue", "CreateTicket", "ShowTicket", "ShowTicketComments", "CommentOnTicket", "ReplyToTicket",
          "ModifyTicket", "SeeCustomField", "ModifyCustomField", "SetInitialCustomField")
#: What somebody at the vendor's desk may do besides.
DESK = (*RIGHTS, "OwnTicket", "DeleteTicket", "ShowOutgoingEmail")

SITE = """Set($rtname, 'vendor.test'); Set($Organization, 'vendor.test');
Set($WebDomain, '127.0.0.1'); Set($WebPort, %(port)d); Set($WebPath, '');
Set($DatabaseType, 'SQLite'); Set($DatabaseName, '%(database)s'); Set($DatabaseHost, ''); Set($DatabasePort, '');
Set($DatabaseUser, ''); Set($DatabasePassword, '');
Set($LogToSyslog, undef); Set($LogToSTDERR, 'warning'); Set($MailCommand, 'testfile');
1;
"""

DATA = """
use utf8;
@Queues = ({ Name => '%(queue)s', Description => 'Maintenance of classrooms' },
           { Name => '%(chinese)s', Description => 'The same, in a country of other letters' },
           { Name => 'No fields', Description => 'A queue without the custom fields' });
@CustomFields = map { {
    Name => $_, Type => 'FreeformSingle', LookupType => 'RT::Queue-RT::Ticket',
    ApplyTo => ['%(queue)s', '%(chinese)s'],
    UniqueValues => ($_ eq '%(key)s' ? %(unique)d : 0),
} } ('%(key)s', '%(room)s');
@Users = map { { Name => $_, EmailAddress => "$_\\@vendor.test", Privileged => 1, Password => 'not used' } }
    ('bellwether', 'desk', 'stranger');
@ACL = ((map { my $right = $_; map { { UserId => 'bellwether', Right => $right, Queue => $_ } }
               ('%(queue)s', '%(chinese)s', 'No fields') } qw(%(rights)s)),
        (map { { UserId => 'desk', Right => $_, Queue => '%(queue)s' } } qw(%(desk)s)));
@Final = (sub {
    require RT::AuthToken;
    for my $name ('bellwether', 'desk', 'stranger') {
        my $user = RT::User->new(RT->SystemUser);
        $user->Load($name);
        my (undef, $message, $token) = RT::AuthToken->new(RT->SystemUser)->Create(Owner => $user->Id);
        open(my $file, '>', "%(folder)s/$name.token") or die $!;
        print $file ($token // die $message), "\\n";
    }
});
1;
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class RequestTracker:
    """One server with a database of its own below `folder`, on a port of its own.

    `unique` sets the key field's "Unique Values", which vendors may do and need not. `without` names rights that the
    user `bellwether` does not have. `user` runs it, if we are root. `workers` is how many requests it serves at once.
    """

    def __init__(self, folder, cache=None, unique=False, without=(), user="www-data", workers=4):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="rt-", dir=folder))
        self.user = user if os.geteuid() == 0 else None
        self.workers = workers
        self.process = None
        # Whole: RT's own programs run elsewhere.
        prepared = pathlib.Path(cache or self.folder, f"rt5-{'unique' if unique else 'plain'}").resolve()
        if not prepared.exists():
            prepare(prepared, unique)
        for file in prepared.iterdir():
            shutil.copy(file, self.folder)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token_file = self.folder / "bellwether.token"
        self.database = self.folder / "rtdb"
        self.log = self.folder / "rt.log"
        self.environment = site(self.folder, self.database, self.port)
        self.take_away(without)
        if self.user:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, self.user, self.user)
            self.folder.chmod(0o755)
        # The daemon's own, whoever that is.
        for name in ("bellwether", "desk", "stranger"):
            os.chown(self.folder / f"{name}.token", os.geteuid(), os.getegid())
            (self.folder / f"{name}.token").chmod(0o600)

    def channel(self, **over):
        """The config of a channel to it."""
        return {"kind": "rt", "url": self.url, "token_file": str(self.token_file), "queue": QUEUE} | over

    def take_away(self, rights):
        """Takes rights from the user `bellwether`; RT sees it when it is started."""
        with contextlib.closing(sqlite3.connect(self.database)) as database, database:
            for right in rights:
                gone = database.execute(
                    """DELETE FROM ACL WHERE RightName = ? AND PrincipalId IN (
                         SELECT g.id FROM Groups g JOIN Users u ON g.Instance = u.id
                         WHERE g.Domain = 'ACLEquivalence' AND u.Name = 'bellwether')""", (right,))
                assert gone.rowcount, f"{right} was not there"

    def start(self):
        become = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"] if self.user else []
        command = ["plackup", "-E", "deployment", "-I", SHARE / "lib", "-s", "Starlet", "--host", "127.0.0.1",
                   "--port", str(self.port), "--max-workers", str(self.workers), SHARE / "libexec/rt-server"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*become, *command], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.environment, start_new_session=True)
        end = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError):
                if self.as_desk("GET", "rt")["Version"]:
                    return self
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise AssertionError(f"RT does not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.2)

    def stop(self):
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # What the vendor does

    def request(self, name, method, path, body=None, timeout=60):
        """A request by the user `name`: the status, and the answer's JSON."""
        token = (self.folder / f"{name}.token").read_text().strip()
        headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/REST/2.0/{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")

    def as_desk(self, method, path, body=None):
        status, answer = self.request("desk", method, path, body)
        if status not in (200, 201, 204):
            raise AssertionError(f"{method} {path}: {status} {answer}")
        return answer

    def change(self, ticket, **fields):
        """Changes fields of a ticket; RT says 200 whether it did or not, so what was to be is looked for."""
        said = self.as_desk("PUT", f"ticket/{ticket}", fields)
        found = self.ticket(ticket)
        for name, value in fields.items():
            assert name == "MergeInto" or found[name] == value, f"{name}: {said}"

    def set_status(self, ticket, status):
        self.change(ticket, Status=status)

    def move(self, ticket, start, end):
        """Another appointment, as `2026-11-25T09:00:00Z`; RT changes it in the form of its database alone."""
        times = {"Starts": start, "Due": end}
        self.as_desk("PUT", f"ticket/{ticket}", {name: re.sub("[TZ]", " ", at).strip() for name, at in times.items()})
        found = self.ticket(ticket)
        assert times == {name: found[name] for name in times}, found

    def merge(self, ticket, into):
        self.change(ticket, MergeInto=into)
        assert self.ticket(ticket)["id"] == into, "not merged"

    def delete(self, ticket):
        self.as_desk("DELETE", f"ticket/{ticket}")
        assert self.rows(ticket)[0]["Status"] == "deleted"

    def reply(self, ticket, text):
        """Somebody at the vendor's desk writes to the school."""
        self.as_desk("POST", f"ticket/{ticket}/correspond", {"Content": text, "ContentType": "text/plain"})

    def create(self, key=None, **fields):
        """A ticket that somebody at the vendor's desk opened by hand."""
        custom = {} if key is None else {KEY: key}
        body = {"Queue": QUEUE, "Subject": "by hand", "CustomFields": custom} | fields
        return int(self.as_desk("POST", "ticket", body)["id"])

    def ticket(self, ticket):
        return self.as_desk("GET", f"ticket/{ticket}")

    # What is in its database, whatever its search says

    def query(self, sql, *values):
        uri = f"file:{self.database}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=30)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(sql, values)]

    def rows(self, *tickets):
        """Tickets by number, all of them without a number: deleted and merged ones too."""
        found = self.query("SELECT id, EffectiveId, Status, Subject, Starts, Due, TimeEstimated FROM Tickets ORDER BY id")
        return [row for row in found if not tickets or row["id"] in tickets]

    def keys(self, ticket, field=KEY):
        """What stands in a ticket's custom field."""
        rows = self.query(
            """SELECT v.Content FROM ObjectCustomFieldValues v JOIN CustomFields f ON f.id = v.CustomField
               WHERE f.Name = ? AND v.ObjectType = 'RT::Ticket' AND v.ObjectId = ? AND v.Disabled = 0""", field, ticket)
        return [row["Content"] for row in rows]

    def tickets(self, key):
        """The tickets that a person would count for a key: it is in their field or their subject, and they were
        neither merged into another nor deleted."""
        return [row for row in self.rows() if row["id"] == row["EffectiveId"] and row["Status"] != "deleted"
                and (key in self.keys(row["id"]) or key in row["Subject"])]

    def messages(self, text):
        """How many messages of all tickets have this in them; attached files are not counted."""
        parts = self.query("SELECT Content, ContentEncoding FROM Attachments "
                           "WHERE ContentType = 'text/plain' AND coalesce(Filename, '') = ''")
        return sum(text in decoded(part) for part in parts)


def decoded(part):
    content, encoding = part["Content"] or "", part["ContentEncoding"]
    if encoding == "base64":
        content = base64.b64decode(content)
    return content.decode(errors="replace") if isinstance(content, bytes) else content


def site(folder, database, port):
    """Writes the config, and gives the environment that names it."""
    (folder / "RT_SiteConfig.pm").write_text(SITE % {"database": database, "port": port})
    (folder / "none.d").mkdir(exist_ok=True)
    # Mail goes to files below it.
    return os.environ | {"RT_SITE_CONFIG": str(folder / "RT_SiteConfig.pm"), "TMPDIR": str(folder),
                         "RT_SITE_CONFIG_DIR": str(folder / "none.d")}


def prepare(prepared, unique):
    """Makes a database with the queue, its fields, users and their tokens."""
    prepared.parent.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="rt-setup-", dir=prepared.parent))
    environment = site(work, work / "rtdb", 80)
    values = {"queue": QUEUE, "chinese": CHINESE, "key": KEY, "room": ROOM, "unique": unique, "folder": work,
              "rights": " ".join(RIGHTS), "desk": " ".join(DESK)}
    (work / "data").write_text(DATA % values, encoding="utf-8")

    def setup(*arguments):
        done = subprocess.run(["rt-setup-database-5", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, env=environment, timeout=300)
        if done.returncode:
            raise AssertionError(f"rt-setup-database-5 {arguments}: {done.stdout}{done.stderr}")

    for action in ("create", "schema", "coredata"):
        setup("--action", action, "--skip-create", "--prompt-for-dba-password")
    for file in (SHARE / "etc/initialdata", work / "data"):
        setup("--action", "insert", "--datafile", str(file), "--skip-create")
    kept = pathlib.Path(tempfile.mkdtemp(prefix="rt-kept-", dir=prepared.parent))
    for name in ("rtdb", "bellwether.token", "desk.token", "stranger.token"):
        assert (work / name).stat().st_size, f"{name} is empty"
        shutil.move(work / name, kept)
    shutil.rmtree(work)
    kept.rename(prepared)
