import { Command } from 'commander';
import { z } from 'zod';
