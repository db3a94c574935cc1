"""What people type and what the pocket model's captions call it: the tables of the prompt reader.

In every table the key is the caption's value and the text lists phrases, separated by commas. A phrase with ``~`` is not the same thing
but the nearest the model has, which the reader mentions. Longer phrases are matched first, so 'light blue' is a colour although 'light' is
a lamp.
"""

from __future__ import annotations

# Nouns; the plural with -s asks for two.
KIND = {
    "ball": "ball, football, basketball, soccer ball, tennis ball, beach ball, rubber ball, ~marble, ~balloon, ~sphere",
    "bell": "bell, church bell, hand bell, handbell, doorbell, ~gong, ~chime, ~wind chime",
    "lamp": "lamp, light, lantern, bulb, light bulb, lightbulb, spotlight, flashlight, ~candle, ~beacon",
    "drum": "drum, snare, snare drum, bass drum, bongo, tom tom, ~tambourine",
    "bird": "bird, birdie, songbird, sparrow, robin, canary, finch, ~parrot",
    "clock": "clock, alarm clock, wall clock, stopwatch, wristwatch, ~metronome, ~timer",
    "cloud": "cloud, ~fog, ~smoke",
    "star": "star, ~pinwheel",
}
# Verbs and sounds; they name the kind where the prompt has no noun ('something chirps').
VERB = {
    "ball": "bounce, bounces, bouncing, bounced, bouncy, hop, hops, hopping, jump, jumps, jumping, dribble, dribbles, dribbling, boing",
    "bell": "ring, rings, ringing, rang, chimes, chiming, toll, tolls, tolling, jingle, jingles, jingling, ding, dong, dings",
    "lamp": "flash, flashes, flashing, blink, blinks, blinking, flicker, flickers, flickering, glow, glows, glowing, shine, shines, "
    "shining, lights up, light up, lit, turns on and off",
    "drum": "beat, beats, beating, drumming, tap, taps, tapping, thump, thumps, thumping, bang, bangs, banging, pounds, pounding, hit, "
    "hits, hitting, strike, strikes, striking, boom",
    "bird": "chirp, chirps, chirping, tweet, tweets, tweeting, sing, sings, singing, peep, peeps, whistle, whistles, whistling, warbles",
    "clock": "tick, ticks, ticking, tock, tick tock, ticktock",
    "cloud": "drift, drifts, drifting, float, floats, floating",
    "star": "spin, spins, spinning, rotate, rotates, rotating, turn, turns, turning, twirl, twirls, twinkle, twinkles, twinkling",
}
COLOUR = {
    "red": "red, crimson, scarlet, ruby, dark red, bright red, ~orange, ~brown",
    "green": "green, emerald, lime, light green, dark green, bright green, ~olive",
    "blue": "blue, navy, azure, sky blue, light blue, dark blue, bright blue, ~cyan, ~turquoise, ~teal",
    "yellow": "yellow, gold, golden, bright yellow, light yellow, ~beige",
    "purple": "purple, violet, lilac, lavender, dark purple, light purple, ~pink, ~magenta",
    "white": "white, snow white, ~grey, ~gray, ~silver, ~black",
}
SIZE = {
    "small": "small, smaller, tiny, little, mini, miniature, wee",
    "large": "large, larger, big, bigger, huge, giant, gigantic, enormous, massive, ~medium, ~medium sized",
}
PLACE = {
    "left": "left, left hand",
    "middle": "middle, center, centre, centered, centred",
    "right": "right, right hand",
}
TEMPO = {
    "slowly": "slowly, slow, gently, leisurely, slow motion, lazily, calmly, now and then, occasionally",
    "quickly": "quickly, quick, fast, rapidly, rapid, speedy, swiftly, swift, repeatedly, many times, again and again, over and over, "
    "constantly, several times, frantically",
}
# Numbers of events.
TIMES = {
    "1": "once, one time, single time, 1 time, only one time, just one time, first beat",
    "2": "twice, two times, 2 times, second beat",
    "3": "thrice, three times, 3 times, third beat",
    "4": "four times, 4 times",
    "5": "five times, 5 times",
    "6": "six times, 6 times",
}
# Numbers of objects.
NUMBER = {
    "1": "a, an, one, 1, single, another",
    "2": "two, 2, pair of, couple of, both",
    "3": "three, 3, several, many, some, four, 4, five, 5, six, 6, ten, 10",
}
SCENERY = {
    "night": "night, nighttime, midnight, dark, darkness, evening, ~space, ~sky, ~dusk",
    "meadow": "meadow, grass, grassy, lawn, field, grassland, ~park, ~garden, ~forest, ~day, ~daytime, ~morning, ~sunny, ~outside",
    "desert": "desert, sand, sandy, dune, dunes, ~beach",
}
# One subject is silent, or the whole clip is.
SILENT = {
    "subject": "silently, silent, without a sound, without sound, without any sound, without making a sound, soundless, soundlessly, "
    "quietly, muted, mute, makes no sound, making no sound, makes no noise, noiselessly",
    "clip": "no sound, no sounds, no audio, no noise, without audio, silent video, silent clip, silent movie, silent film, sound off, "
    "muted video, muted clip, in silence",
}
UNSEEN = {
    "": "unseen, off screen, offscreen, off camera, out of view, out of sight, out of frame, outside the frame, invisible, hidden, "
    "not visible, not seen, you can't see, you cannot see, we can't see, can't be seen, cannot be seen"
}
# How clauses are joined.
LINK = {
    "and": "and, while, as, with, but, plus, alongside, next to, beside, near, together with, whereas, or",
    "then": "then, and then, before, after that, afterwards, followed by, later, next, and next, finally",
    "after": "after",
}
# 'Only the smaller one sounds': which of two objects of one kind is heard.
ONLY = {
    "small": "only the smaller one, only the small one, only the smaller, only the little one, the smaller one alone",
    "large": "only the larger one, only the bigger one, only the big one, only the large one, only the bigger, only the larger, "
    "the larger one alone",
}
SOMETHING = {"": "something, it sounds like"}
# Words without a meaning for the clip.
FILLER = {
    "": "the, of, in, on, at, to, by, from, over, under, for, is, are, be, being, was, it, its, it's, that, which, this, these, there, "
    "there's, who, one, i, i'd, you, me, we, my, your, us, want, would, like, love, need, can, could, please, make, create, generate, "
    "render, draw, give, show, see, hear, watch, let, let's, do, does, video, clip, movie, film, animation, scene, picture, shot, "
    "footage, cartoon, side, hand, screen, frame, image, sound, sounds, noise, audio, beat, up, down, off, out, here, just, only, very, "
    "really, so, first, stops, stop, plays, play, playing, makes, making, goes, going, sits, sitting, has, have, someone, somebody, "
    "moving, moves, across, around, through, time, times, each, other, nice, beautiful, pretty, cute, lovely, funny, simple, short, "
    "second, seconds, long, thanks, thank, hello, hi, hey, visible, seen, while, during"
}
# Subjects that people ask for and the world does not have, under the kind that is nearest in meaning.
ABSENT = {
    "bird": "dog, puppy, cat, kitten, duck, rooster, chicken, hen, owl, crow, eagle, seagull, cow, horse, sheep, pig, frog, cricket, "
    "bee, insect, animal, lion, tiger, wolf, bear, monkey, mouse, elephant, fish, whale, snake, butterfly",
    "bell": "phone, telephone, piano, keyboard, triangle, xylophone, alarm, siren, glass, church, guitar, violin, flute, trumpet, "
    "saxophone, instrument, orchestra, harp",
    "drum": "hammer, door, footsteps, horse hooves, cymbal, drummer, band, gun, gunshot, fireworks, explosion, thunder",
    "lamp": "fire, campfire, fireplace, lightning, sun, lighthouse, tv, television, computer, robot, laser",
    "ball": "car, truck, bus, train, bike, bicycle, motorcycle, airplane, plane, helicopter, boat, ship, man, woman, boy, girl, child, "
    "baby, kid, people, person, crowd, dancer, wheel, box, cube, apple, rock, stone, toy",
    "clock": "engine, machine, clockwork, typewriter, heart, heartbeat",
    "cloud": "rain, snow, wind, storm, water, sea, ocean, waves, wave, river, waterfall, rainstorm",
    "star": "moon, planet, galaxy, fan, windmill, flower, tree, leaf",
}
# Where a prompt leaves the colour open.
USUAL_COLOUR = {
    "ball": "red",
    "bell": "yellow",
    "lamp": "yellow",
    "drum": "red",
    "bird": "blue",
    "clock": "white",
    "cloud": "white",
    "star": "yellow",
}
# Of both sizes and three sceneries, this pair gave the most correct kinds on the tuned half of ``bench.people``.
USUAL_SIZE, USUAL_TEMPO, USUAL_SCENERY = "large", "slowly", "desert"
