"""The closed vocabulary of the commands: what single words there are, by class.

Words are written as scripts: what a voice is asked to say. There, a capital letter alone is the
name of a letter; everything else is in lower case, as in the text.
"""

from __future__ import annotations

from ..numbers import cardinal

DIGITS = (*(cardinal(n) for n in range(10)), "oh")
LETTERS = (*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "zed")
PHONETIC = tuple(
    """alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november
    oscar papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu niner""".split()
)
TEENS = tuple(cardinal(n) for n in range(10, 20))
TENS = tuple(cardinal(n) for n in range(20, 100, 10))
SCALES = ("hundred", "thousand", "million", "billion")
ORDINALS = tuple(
    """first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth
    thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth thirtieth
    fortieth fiftieth sixtieth seventieth eightieth ninetieth hundredth thousandth millionth
    billionth""".split()
)
NUMBERS = (*TEENS, *TENS, *SCALES, *ORDINALS, "minus")
SYMBOLS = (
    *"""pipe tilde quote percent ampersand tick star pound comma colon semicolon backslash caret
    underscore backtick asterisk at dash dollar dot equals plus slash space""".split(),
    "left brace", "right brace", "dollar sign", "open parenthesis", "close parenthesis",
    "less than", "greater than", "question mark", "left bracket", "right bracket",
    "exclamation point",
)  # fmt: skip
DAYS = tuple("monday tuesday wednesday thursday friday saturday sunday".split())
MONTHS = tuple(
    """january february march april may june july august september october november
    december""".split()
)
DATES = (*DAYS, *MONTHS, "today", "tomorrow", "yesterday")
TIMES = (
    *"hour hours minute minutes seconds exactly and dollars o'clock".split(),
    "A M", "P M", "the time is",
)  # fmt: skip

PROMPTS = tuple(
    line.strip()
    for line in """
    activated
    added
    agent logged in
    agent logged off
    all circuits are busy now
    call forward on busy
    call forward on no answer
    call forward unconditional
    call forwarding
    call waiting
    calling
    cancelled
    change to which folder
    console
    currently there are more than
    disabled
    do not disturb
    enabled
    extension
    family
    folder eight
    folder five
    folder nine
    folder seven
    folder six
    followed by the pound key
    friends
    from
    from an unknown caller
    goodbye
    has joined the conference
    has left the conference
    hello
    hello world
    hold time
    i'm sorry
    if this is correct press
    incoming call from
    information about your last call
    invalid choice
    is
    is in use
    is now in the conference
    is on the phone
    is set to
    is unavailable
    last
    letters of your party's first name
    letters of your party's last name
    local
    location
    login incorrect
    login incorrect mailbox
    lowercase
    message
    message deleted
    message from extension
    message from phone number
    message marked urgent
    message undeleted
    messages
    new
    no
    no directory entries match your search
    no empty conferences currently exist
    no more messages
    number
    old
    one moment please
    or nine to save this message
    or pound to cancel
    other participants in the conference
    parking attempt failed
    participants in the conference
    password
    pause
    paused
    playback
    playback mode
    please enter the conference pin number
    please enter the first
    please try again
    please try your call again later
    press
    press five to leave a message
    press four for the previous message
    press nine for more entries
    press one for
    press one to call this number
    press one to enter a number
    press one to listen to
    press one to send a reply
    press seven to delete this message
    press seven to undelete this message
    press star to cancel
    press star to cancel this message
    press three for advanced options
    press zero for help
    press zero to reach an operator
    received
    record
    record mode
    removed
    saved
    saved to
    simultaneous call limit reached
    something is terribly wrong
    sorry you're having problems
    speed dial
    telephone number
    thank you
    thank you for your patience
    that conference is full
    the conference cannot be extended
    the conference has been extended
    the conference has ended
    the conference is now being recorded
    the conference is now locked
    the conference is now muted
    the conference is now unlocked
    the conference is now unmuted
    the conference will now begin
    the echo test has been completed
    the estimated hold time is currently
    the last caller was
    the leader has left the conference
    the number i have is
    the number is not answering
    the number was successfully
    the person at extension
    then press pound
    there are currently
    this conference is locked
    this message lasts
    time
    to call this number
    to exit the menu
    to extension
    to leave the conference
    to listen to it
    to lock or unlock the conference
    to mute or unmute yourself
    transfer
    uppercase
    urgent
    urgent status removed
    user will join the conference
    users will join the conference
    waiting to speak with a representative
    we're sorry
    welcome to the directory
    with
    work
    you are currently caller number
    you are entering conference number
    you are no longer muted
    you are now muted
    you are now unmuted
    you entered
    you have
    you have an incoming call
    you have entered an invalid option
    your
    your message has been saved
    your message has been successfully forwarded
    your message is too short
    your passwords have been changed
    your temporary greeting has been removed
    your temporary greeting is currently active
    """.strip().splitlines()
)
"""Prompts of Asterisk of at most six words, but for names of protocols and lone homophones."""
