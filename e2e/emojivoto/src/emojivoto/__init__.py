# SPDX-License-Identifier: Apache-2.0
"""A voting demo of four small services: emoji, voting, web and vote-bot.

The names, ports, paths and calls are those of the well-known demo, so that tools and screenshots
agree; code and words are this project's. Each service is one process with one asyncio loop.
"""
