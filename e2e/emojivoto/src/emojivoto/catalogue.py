# SPDX-License-Identifier: Apache-2.0
"""The hundred emoji that one can vote for.

Every service that names an emoji takes it from here; `python -m emojivoto.protogen` derives the
voting protocol, one method per emoji, from the same table. Pure data: no concurrency.
"""

from typing import NamedTuple


class Emoji(NamedTuple):
    """One entry: its shortcode with both colons, and its character (one or more code points)."""

    shortcode: str
    unicode: str

    @property
    def method(self) -> str:
        """The VotingService method that counts a vote for it, such as `VoteDoughnut`."""
        words = self.shortcode.strip(":").split("_")
        return "Vote" + "".join(word.capitalize() for word in words)


_TABLE = """
joy 1F602|sunglasses 1F60E|relaxed 263A FE0F|doughnut 1F369|stuck_out_tongue_winking_eye 1F61C
money_mouth_face 1F911|flushed 1F633|mask 1F637|nerd_face 1F913|ghost 1F47B
skull_and_crossbones 2620 FE0F|heart_eyes_cat 1F63B|hear_no_evil 1F649|see_no_evil 1F648
speak_no_evil 1F64A|boy 1F466|girl 1F467|man 1F468|woman 1F469|older_man 1F474|policeman 1F46E
guardsman 1F482|construction_worker_man 1F477|prince 1F934|princess 1F478
man_in_tuxedo 1F935|bride_with_veil 1F470|mrs_claus 1F936|santa 1F385|turkey 1F983|rabbit 1F430
no_good_woman 1F645|ok_woman 1F646|raising_hand_woman 1F64B|bowing_man 1F647
man_facepalming 1F926 200D 2642 FE0F|woman_shrugging 1F937 200D 2640 FE0F|massage_woman 1F486
walking_man 1F6B6|running_man 1F3C3|dancer 1F483|man_dancing 1F57A|dancing_women 1F46F
rainbow 1F308|skier 26F7 FE0F|golfing_man 1F3CC FE0F|surfing_man 1F3C4|basketball_man 26F9 FE0F
biking_man 1F6B4|point_up_2 1F446|vulcan_salute 1F596|metal 1F918|call_me_hand 1F919
thumbsup 1F44D|wave 1F44B|clap 1F44F|raised_hands 1F64C|pray 1F64F|dog 1F436|cat2 1F408
pig 1F437|hatching_chick 1F423|snail 1F40C|bacon 1F953|pizza 1F355|taco 1F32E|burrito 1F32F
ramen 1F35C|champagne 1F37E|tropical_drink 1F379|beer 1F37A|tumbler_glass 1F943
world_map 1F5FA FE0F|beach_umbrella 1F3D6 FE0F|mountain_snow 1F3D4 FE0F|camping 1F3D5 FE0F
steam_locomotive 1F682|flight_departure 1F6EB|rocket 1F680|star2 1F31F
sun_behind_small_cloud 1F324 FE0F|cloud_with_rain 1F327 FE0F|fire 1F525|jack_o_lantern 1F383
balloon 1F388|tada 1F389|trophy 1F3C6|iphone 1F4F1|pager 1F4DF|fax 1F4E0|bulb 1F4A1
money_with_wings 1F4B8|crystal_ball 1F52E|underage 1F51E|interrobang 2049 FE0F|100 1F4AF
checkered_flag 1F3C1|crossed_swords 2694 FE0F|floppy_disk 1F4BE|poop 1F4A9
"""


def _parse(table: str) -> tuple[Emoji, ...]:
    entries = []
    for cell in table.replace("\n", "|").strip("|").split("|"):
        name, *points = cell.split()
        entries.append(Emoji(f":{name}:", "".join(chr(int(point, 16)) for point in points)))
    return tuple(entries)


CATALOGUE: tuple[Emoji, ...] = _parse(_TABLE)
BY_SHORTCODE: dict[str, Emoji] = {emoji.shortcode: emoji for emoji in CATALOGUE}
DOUGHNUT = BY_SHORTCODE[":doughnut:"]
